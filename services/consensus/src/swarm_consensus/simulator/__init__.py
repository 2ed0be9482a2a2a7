"""A world for protocols in which one seed decides everything: when messages arrive, what fails, and who lies."""

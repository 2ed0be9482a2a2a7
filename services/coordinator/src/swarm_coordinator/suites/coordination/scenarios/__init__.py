"""The scenarios of the suite, one a module; each has ``SCENARIO`` and ``plan``."""

"""The dashboard: the view of all runs as pages and JSON over HTTP, to look at and not to change."""

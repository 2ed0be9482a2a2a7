"""Makes one answer out of many; runs decision protocols."""

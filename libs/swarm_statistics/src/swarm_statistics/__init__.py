"""Statistics of measurements: whether something changed, by how much, and how sure that is. Pure functions."""

"""Projections, statistics, queries and the dashboard."""

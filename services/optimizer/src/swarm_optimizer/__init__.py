"""Suggestions, CLAUDE.md optimisation, search."""

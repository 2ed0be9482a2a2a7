"""Six patterns of thinking, each a small task that is really learned; see docs/neural.md."""

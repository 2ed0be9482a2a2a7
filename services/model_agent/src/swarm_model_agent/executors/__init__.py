"""Executors: whatever answers an agent's requests, be it a paid endpoint, a model on this machine or a recording."""

"""Agents in processes of their own that agree over core NATS, are timed, hurt on purpose, and checked."""

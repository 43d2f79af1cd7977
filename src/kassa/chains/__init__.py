"""Talks to nodes. Knows `core` and nothing else: no database, no feature."""

"""The HTTP API of docs/api.md: no state of its own."""

"""The HTTP API (docs/api.md): no state of its own."""

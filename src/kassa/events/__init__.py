"""The outbox: what was announced, in order, for ever."""

"""Who waits for a lock of a test's own database: the server is one for all tests that run beside each other."""

WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
"""How many do. To be asked outside a transaction: within one, the server answers as it did the first time."""

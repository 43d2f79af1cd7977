"""How often somebody may ask: counted in windows, kept across restarts, without a wait for the database."""

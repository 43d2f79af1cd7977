"""The operations port: what was counted in this process, and how things stand in the database at the moment."""

"""A store's customers: deposit addresses, credit, and what they spend of it."""

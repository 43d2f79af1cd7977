"""Which blocks are the best chain, where we stand on it, and what to look for."""

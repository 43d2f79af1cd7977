"""Which blocks are the best chain."""

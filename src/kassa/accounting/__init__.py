"""Proves the books and brings them out."""

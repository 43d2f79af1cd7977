"""Backups: one encrypted file that holds database, settings and address marks; and the way back."""

"""Transfers that reached our addresses."""

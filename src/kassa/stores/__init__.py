"""Tenants: stores, their API keys, and the answers kept for repeated requests."""

"""Endpoints, deliveries and signatures."""

"""Kassa: accept, follow and account for cryptocurrency on your own machine."""

__version__ = "0.1.0"

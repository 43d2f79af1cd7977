"""Kassa: accept, follow, account for and pay out cryptocurrency on your own machine."""

__version__ = "0.1.0"

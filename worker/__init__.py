"""Reads scanned handwritten digits, unattended."""

__version__ = "0.1.0"

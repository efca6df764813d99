"""Rung 3, waiting for the host or for other ranks."""

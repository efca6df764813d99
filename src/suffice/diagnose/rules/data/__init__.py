"""Rung 2, waiting for data: what holds the loader back."""

"""Trials of changes that need another process from its start."""

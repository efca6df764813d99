"""Techniques that need another process from its start, one a file: its environment, and whether it took in the job."""

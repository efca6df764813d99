"""Techniques, one a file: when a change is worth a trial, and how it is switched on inside the job."""

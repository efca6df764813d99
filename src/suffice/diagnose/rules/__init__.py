"""A view of a profile -> a finding, or None: one rule a file, a folder for each rung that has several."""

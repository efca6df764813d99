"""A profile -> findings: which rung of the ladder holds a job up, by how much at most, and what cures it."""

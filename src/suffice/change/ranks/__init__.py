"""Changes to what the ranks of a job exchange, one technique a file; all ranks have them from the same step on."""

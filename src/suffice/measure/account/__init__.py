"""What a job used in, what that cost out: energy, carbon and money, each a figure with its origin and range."""

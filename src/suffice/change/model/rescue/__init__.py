"""What is tried where 8 bits everywhere lose too much: some of the model stays precise."""

"""Workers for a loader that was made without them, or with others: what forbids them, and how they take turns."""

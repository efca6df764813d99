"""What the techniques of this room share."""

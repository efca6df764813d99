"""A trained model -> what it is, what it takes, and what its forms cost."""

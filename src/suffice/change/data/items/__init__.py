"""What techniques for data share: values as bytes, where random numbers come from, what an item depends on, stores."""

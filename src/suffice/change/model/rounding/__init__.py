"""Weights in few bits: how each is rounded, and products that are computed with them."""

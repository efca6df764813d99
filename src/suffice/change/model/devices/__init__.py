"""Techniques that compile a model for a device beside the processor, and what a machine lacks for them."""

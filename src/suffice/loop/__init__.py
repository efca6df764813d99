"""The verbs: measure a target, improve it, keep what came out."""

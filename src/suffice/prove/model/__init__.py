"""Forms of a model -> which of them are as good as the original, and which is the cheapest."""

"""A model of another structure: what is left out of it or put in its place, trained on with the original as teacher."""

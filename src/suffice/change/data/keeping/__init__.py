"""Values as bytes, in a store that all processes of a job share, and functions that take their results from it."""

"""Which samples make the next batch of a loader, decided where its iterators ask their sampler."""

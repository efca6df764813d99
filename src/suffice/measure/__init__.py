"""A target in, its profile out: where the time, energy, money and carbon of a run went."""

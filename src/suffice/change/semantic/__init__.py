"""Changes that make it another training: tried with consent, kept where whole runs show the metric to hold."""

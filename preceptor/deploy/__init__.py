"""Floor 3: what a finished model becomes so that other programs can run it."""

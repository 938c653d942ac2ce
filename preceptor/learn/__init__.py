"""Floor 2: the one training loop. It knows nothing of modality or algorithm."""

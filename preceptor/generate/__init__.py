"""Floor 2: the one decoding engine. Requests go in, answers with their log-probabilities come out."""

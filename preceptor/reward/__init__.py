"""Floor 3: from rankings of answers to a model that scores answers."""

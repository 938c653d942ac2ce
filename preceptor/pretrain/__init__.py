"""Floor 3: from raw text to a base model."""

"""Floor 1: vocabularies and chat templates."""

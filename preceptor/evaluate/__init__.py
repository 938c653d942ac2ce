"""Floor 3: what every model of a run does on the same held-out prompts, with intervals."""

"""Floor 4: what to run. Named steps in order, strict YAML, identities by content, and the runner."""

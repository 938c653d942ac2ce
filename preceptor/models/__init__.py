"""Floor 1: networks, heads and masks. Models are Hugging Face models; what is added goes through extension points."""

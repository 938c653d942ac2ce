"""Floor 5: the pages on which people label, and what they show of labelers and models. No build step."""

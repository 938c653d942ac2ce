"""Floor 0: what people read, in English and Chinese, from one catalogue."""

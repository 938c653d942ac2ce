"""Floor 2: people in the loop. The store of rankings, who labels what next, how far each is trusted, and scores."""

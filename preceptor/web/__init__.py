"""Floor 5: the pages on which people label and talk to models, and the API. No build step."""

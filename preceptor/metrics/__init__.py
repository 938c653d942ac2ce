"""Floor 1: measures of text and of rankings, each with the interval that its data allow."""

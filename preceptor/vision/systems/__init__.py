"""One system a file: which parts it has, what its losses are, and how it scores a picture with a text."""

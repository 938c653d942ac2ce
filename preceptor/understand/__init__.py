"""Floor 3: a text's label, entities or fields, by an encoder or by a language model, and which of the two is better."""

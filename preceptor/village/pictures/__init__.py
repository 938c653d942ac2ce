"""The picture book of the village: drawn scenes with sentences, questions and boxes whose truth is known."""

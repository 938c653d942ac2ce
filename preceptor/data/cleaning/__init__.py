"""Cleaning that explains itself: rules that drop or change documents, and say which, why and by how much."""

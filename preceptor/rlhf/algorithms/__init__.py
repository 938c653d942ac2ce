"""The algorithms by name: which formulas each uses, and how."""

"""Floor 1: formulas, pure functions of tensors; losses are sums over the positions that count (docs/formulas.md)."""

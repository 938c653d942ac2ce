"""Systems that see: one file each in systems/, trained by one stage, scored by one evaluator (docs/vision.md)."""

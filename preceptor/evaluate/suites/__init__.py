"""Benchmarks as data: what is asked and how it is scored stands in YAML files, a few scorers do the work."""

"""Floor 0: what a run is on disk. Atomic files, the manifest, the metric log, progress, the machine."""

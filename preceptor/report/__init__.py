"""Floor 4: the page that shows what a run did, and its figures for programs, both from the run folder alone."""

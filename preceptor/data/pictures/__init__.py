"""Pictures with texts: decoded once, ahead of training, and dealt in batches with an exact cursor."""

"""Floor 3: the policy learns from what is preferred: from rewards of its own answers, or from rankings directly."""

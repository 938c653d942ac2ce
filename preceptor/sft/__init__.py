"""Floor 3: supervised fine-tuning on demonstrations, and the choice of its epoch by reward."""

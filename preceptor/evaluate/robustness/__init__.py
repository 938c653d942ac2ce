"""The weaknesses that InstructGPT reports of itself (section 5.2), measured on the same prompts, spoilt on purpose."""

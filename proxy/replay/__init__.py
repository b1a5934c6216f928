"""``safeguard replay``: decisions that were made, under a configuration that is not in force."""

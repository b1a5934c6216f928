"""``safeguard tune``: the encoder, trained further on one's own labelled rows."""

"""The review queue: what was flagged, what people say about it, and what follows from that; see docs/review.md."""

"""The audit: one durable record per decision, on record before anything leaves that the decision lets go.

`trail` says what must be on record when, `audit` writes it without blocking the event loop, `jsonl` and `sqlite` are the two
stores behind the seam in `store`. docs/audit.md is the page for users.
"""

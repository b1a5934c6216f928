"""Policies, rules and decisions: what is judged against what, and what follows from the scores."""

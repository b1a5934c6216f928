"""Training of the shipped guard: data, generators, training, export, evaluation."""

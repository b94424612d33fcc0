"""Training, and what is done with a trained network."""

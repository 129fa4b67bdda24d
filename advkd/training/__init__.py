"""Training a student from a trajectory store."""

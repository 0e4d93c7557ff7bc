"""The drawn world, the small model trained on it, and the example image."""

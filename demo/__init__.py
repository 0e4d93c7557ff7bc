"""The drawn world, the small captioner trained on it, and the project's picture."""

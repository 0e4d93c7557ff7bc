"""The commands that `flask` has besides `run`: one module each, of the same name."""

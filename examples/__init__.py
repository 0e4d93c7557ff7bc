"""Model files to serve, or to copy over endpoint/model.py."""

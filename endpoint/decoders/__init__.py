"""Decoders: the bytes of an upload to an image or a text, or a 4xx."""

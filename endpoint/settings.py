"""ENDPOINT_* to the app's configuration: the settings, their defaults, their checks."""

import sys

from flask import Flask

from endpoint import inputs, logs
from endpoint.worker import LOAD_FAILED

DEFAULTS = {
    "QUEUE": 64,  # inputs that may decode or wait
    "DEADLINE": 90,  # seconds from upload to output; Runpod's proxy gives up at 100
    "MAX_UPLOAD_MB": 20,
    "MAX_PIXELS": 50_000_000,
    "MAX_BATCH": None,  # the model's own
}


def configure(app: Flask) -> None:
    """Lay ENDPOINT_* over the settings; a bad value ends the start with a sentence."""
    app.config.from_mapping(DEFAULTS, MAX_FORM_PARTS=100)
    app.config.from_prefixed_env("ENDPOINT")
    for name, default in DEFAULTS.items():
        value = app.config[name]
        if value is not default and not (isinstance(value, int | float) and value > 0):
            print(f"ENDPOINT_{name} must be a number above 0.", file=sys.stderr)
            sys.exit(LOAD_FAILED)
    app.config["MAX_CONTENT_LENGTH"] = int(app.config["MAX_UPLOAD_MB"] * 1_000_000)
    inputs.limit_pixels(int(app.config["MAX_PIXELS"]))
    app.json.sort_keys = False  # A model's first value is its plain text.
    logs.configure()

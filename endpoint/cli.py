"""What `flask` can do besides `run`."""

from endpoint.bake import bake

COMMANDS = (bake,)

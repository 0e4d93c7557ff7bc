"""What `flask` can do besides `run`."""

from endpoint.bake import bake
from endpoint.predict import predict

COMMANDS = (bake, predict)

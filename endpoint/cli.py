"""What `flask` can do besides `run`."""

from endpoint.bake import bake
from endpoint.check import check
from endpoint.predict import predict
from endpoint.smoke import smoke

COMMANDS = (bake, check, predict, smoke)

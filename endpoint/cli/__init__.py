"""What `flask` can do besides `run`."""

from endpoint.check import check
from endpoint.cli.bake import bake
from endpoint.cli.predict import predict
from endpoint.cli.smoke import smoke

COMMANDS = (bake, check, predict, smoke)

"""What `flask` can do besides `run`."""

from tools.check import check
from tools.bake import bake
from tools.predict import predict
from tools.smoke import smoke

COMMANDS = (bake, check, predict, smoke)

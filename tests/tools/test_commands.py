"""The commands as `flask` finds them."""

import subprocess
import sys

import pytest

from endpoint import commands as module
from endpoint.commands import NAMES
from tests.support.server import ROOT, SCRIPTS


def test_commands_are_found_by_their_files():
    commands = module.Commands()
    assert commands.list_commands(None) == [*NAMES]
    assert commands.get_command(None, "nothing") is None


@pytest.mark.parametrize("name", NAMES)
def test_command_is_imported_when_it_is_called(name):
    program = (
        "import sys, endpoint\n"
        "commands = endpoint.create_app('tests.support.fake_model').cli\n"
        "print([name for name in sys.modules if name.startswith('tools')])\n"
        f"print(commands.get_command(None, '{name}').name)\n"
        f"print('tools.{name}' in sys.modules)\n"
    )
    command = [sys.executable, "-c", program]
    output = subprocess.check_output(command, cwd=ROOT, text=True)
    assert output == f"[]\n{name}\nTrue\n"


def test_flask_lists_the_commands():
    output = subprocess.check_output([SCRIPTS / "flask", "--help"], cwd=ROOT, text=True)
    assert all(f"\n  {name} " in output for name in (*NAMES, "run", "routes"))

"""The commands of `flask` that tools/ adds."""

import subprocess

import pytest

from endpoint import commands, create_app
from tests.endpoint.test_init import COMMANDS, FAKE_MODEL, run_python
from tests.support.server import ROOT, SCRIPTS


def test_commands_are_found_by_their_files():
    group = create_app(FAKE_MODEL).cli
    assert group.list_commands(None) == [*COMMANDS]
    assert group.get_command(None, "nothing") is None


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_imported_when_it_is_called(name):
    program = (
        "import sys, endpoint\n"
        "commands = endpoint.create_app('tests.support.fake_model').cli\n"
        "print([name for name in sys.modules if name.startswith('tools')])\n"
        f"print(commands.get_command(None, '{name}').name)\n"
        f"print('tools.{name}' in sys.modules)\n"
    )
    assert run_python(program).stdout == f"[]\n{name}\nTrue\n"


def test_commands_are_absent_without_tools(monkeypatch, tmp_path):
    monkeypatch.setattr(commands, "TOOLS", tmp_path)
    group = create_app(FAKE_MODEL).cli
    assert group.list_commands(None) == []
    assert group.get_command(None, "check") is None


def test_flask_lists_the_commands():
    output = subprocess.check_output([SCRIPTS / "flask", "--help"], cwd=ROOT, text=True)
    assert all(f"\n  {name} " in output for name in (*COMMANDS, "run", "routes"))

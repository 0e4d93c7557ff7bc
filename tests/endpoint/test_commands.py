"""Commands of tools/, which are found by their files and imported when called."""

from endpoint import commands as module


def test_commands_are_absent_without_tools(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "TOOLS", tmp_path)
    commands = module.Commands()
    assert commands.list_commands(None) == []
    assert commands.get_command(None, "check") is None

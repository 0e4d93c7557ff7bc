"""`flask check` and the like: modules of tools/, imported only when they are called."""

import importlib
from pathlib import Path

import click
from flask.cli import AppGroup

NAMES = ("bake", "check", "predict", "smoke")
TOOLS = Path(__file__).parent.parent / "tools"


class Commands(AppGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in NAMES if (TOOLS / f"{name}.py").is_file()]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(ctx):
            return None
        return getattr(importlib.import_module(f"tools.{name}"), name)

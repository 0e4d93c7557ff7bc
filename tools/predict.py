"""`flask predict`: files, folders and addresses to answers, at full batch speed."""

import glob
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click
from flask.cli import with_appcontext
from werkzeug.datastructures import MultiDict

from endpoint import answers
from tools import engines
from tools.output import FORMS, Output

CLEAR = "\r\033[K"  # what stands on a terminal's line


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("sources", nargs=-1, type=click.UNPROCESSED, metavar="PATH|URL|-...")
@click.option("--output", type=click.Path(path_type=Path), help="Continued if it is.")
@click.option("--format", "form", type=click.Choice(FORMS), help="As OUTPUT ends.")
@click.option("--url", help="Ask this server instead of loading the model here.")
@click.option("--api-key", envvar="ENDPOINT_API_KEY", help="That of the server.")
@with_appcontext
def predict(
    sources: tuple[str, ...],
    output: Path | None,
    form: str | None,
    url: str | None,
    api_key: str | None,
) -> None:
    """Answer for files, folders, globs, addresses or - for standard input.

    The model's own fields are options, too: --labels cat --labels dog.
    """
    fields, names = split(sources)
    with Output(output, form) as lines:
        there = url and engines.there(url.rstrip("/"), api_key, fields)
        engine = there or engines.here(fields, names)
        check_fields(fields, engine.served["fields"])
        wanted = list(dict.fromkeys(expand(names, engine.served["accepts"])))
        todo = [name for name in wanted if name not in lines.done]
        failed, before = run(engine, todo, lines), len(wanted) - len(todo)
    told = f"{len(todo) - failed} done, {failed} failed, {before} done before."
    click.echo(told, err=True)
    sys.exit(bool(failed))


def check_fields(fields: MultiDict, taken: dict[str, str]) -> None:
    """Refuse options that neither we nor the model have."""
    if unknown := [name for name in fields if name not in taken]:
        known = ", ".join(f"--{name}" for name in taken) or "none"
        raise click.UsageError(f"No option --{unknown[0]}; the model's own: {known}.")


def split(arguments: tuple[str, ...]) -> tuple[MultiDict, list[str]]:
    """Tell the model's fields, --name value or --name=value, from the sources."""
    fields, sources, rest = MultiDict(), [], iter(arguments)
    for argument in rest:
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            fields.add(name.replace("-", "_"), value if equals else next(rest, ""))
        else:
            sources.append(argument)
    if not sources:
        raise click.UsageError("Name a file, a folder, an address or -.")
    return fields, sources


def expand(sources: list[str], accepts: str) -> Iterator[str]:
    """Yield the files in folders that the model takes, and all else as it is named."""
    for source in sources:
        if "://" not in source and os.path.isdir(source):
            for path in sorted(Path(source).rglob("*")):
                if fnmatch(engines.media_type(path.name), accepts) and path.is_file():
                    yield str(path)
        elif "://" in source or os.path.exists(source) or not glob.has_magic(source):
            yield source
        else:
            yield from sorted(glob.glob(source, recursive=True)) or [source]


def run(engine: engines.Engine, todo: list[str], lines: Output) -> int:
    """Write the answers in order; return how many failed."""
    on_screen = sys.stderr.isatty() and not lines.is_terminal
    failed, started, waiting = 0, time.monotonic(), deque()
    bar = click.progressbar(
        length=len(todo),
        file=sys.stderr,
        show_pos=True,
        item_show_func=lambda rate: rate and f"{rate:.1f}/s",
        hidden=not on_screen,
    )
    begin, end = (ThreadPoolExecutor(engine.threads) for _ in range(2))
    with bar, begin, end:
        # What is ahead of the answers is bounded, and with it the memory.
        for name in [*todo, *[None] * engine.at_once]:
            if name is not None:
                begun = begin.submit(engine.begin, name)
                waiting.append((name, end.submit(finish, engine, begun)))
            if waiting and (name is None or len(waiting) == engine.at_once):
                failed += not settle(*waiting.popleft(), lines, on_screen)
                bar.update(1, (bar.pos + 1) / (time.monotonic() - started))
    return failed


def finish(engine: engines.Engine, begun: Future) -> dict[str, Any]:
    return engine.end(begun.result())


def settle(name: str, future: Future, lines: Output, on_screen: bool) -> bool:
    """Write an input's answer, or tell why there is none."""
    try:
        lines.write(name, future.result())
        return True
    except click.ClickException:
        raise
    except (OSError, engines.Refused) as error:
        why = str(getattr(error, "strerror", None) or error)
    except Exception as error:
        why = answers.details(answers.as_http(error))["detail"]
    click.echo(f"{CLEAR * on_screen}{name}: {why}", err=True)
    return False

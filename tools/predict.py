"""`flask predict`: files, folders and URLs to answers, at full batch speed."""

import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
from flask import current_app
from flask.cli import with_appcontext
from werkzeug.datastructures import MultiDict

from endpoint.fields import Values
from endpoint.responses import problem_body, to_http_error
from tools.predict_engines import Engine, LocalEngine, RemoteEngine
from tools.predict_output import FORMATS, Output, escape
from tools.predict_sources import InputError, expand_sources, is_url, read_source

CLEAR_LINE = "\r\033[K"  # removes the progress bar from a terminal
Answers = Iterator[tuple[str, Future[dict[str, Any]]]]


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("sources", nargs=-1, type=click.UNPROCESSED, metavar="PATH|URL|-...")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write to. If it exists, answers are appended for inputs without one.",
)
@click.option(
    "--format", type=click.Choice(FORMATS), help="Default: the extension of --output."
)
@click.option("--url", help="Send the inputs to this server; load no model here.")
@click.option("--api-key", envvar="ENDPOINT_API_KEY", help="API key of the server.")
@with_appcontext
def predict(
    sources: tuple[str, ...],
    output: Path | None,
    format: str | None,
    url: str | None,
    api_key: str | None,
) -> None:
    """Run the model on files, folders, URLs or standard input.

    A glob in quotes is expanded here; - is standard input. The model's own fields are
    options as well: --labels cat --labels dog.
    """
    fields, sources = split_arguments(sources)
    with Output(output, format) as out:
        engine = start_engine(url, api_key, sources)
        check_fields(fields, engine)
        names = list(dict.fromkeys(expand_sources(sources, engine.accepts)))
        todo = [name for name in names if not out.has_answer(name)]
        answers = answer_in_order(engine, fields, todo)
        failed = write_answers(answers, len(todo), out)
    done, before = len(todo) - failed, len(names) - len(todo)
    click.echo(f"{done} done, {failed} failed, {before} done before.", err=True)
    sys.exit(bool(failed))


def split_arguments(arguments: tuple[str, ...]) -> tuple[Values, tuple[str, ...]]:
    """Separate the model's fields, --name value or --name=value, from the sources."""
    fields: Values = MultiDict()
    sources, rest = [], iter(arguments)
    for argument in rest:
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            fields.add(name.replace("-", "_"), value if equals else next(rest, ""))
        else:
            sources.append(argument)
    if not sources:
        raise click.UsageError("Name at least one file, folder or URL, or -.")
    return fields, tuple(sources)


def start_engine(
    url: str | None, api_key: str | None, sources: tuple[str, ...]
) -> Engine:
    if url:
        return RemoteEngine(url.rstrip("/"), api_key)
    return LocalEngine(current_app.config["MODULE"], any(map(is_url, sources)))


def check_fields(fields: Values, engine: Engine) -> None:
    """Refuse an option that is neither this command's nor a field of the model."""
    for name in fields:
        if name not in engine.fields:
            known = ", ".join(f"--{field}" for field in engine.fields) or "none"
            raise click.UsageError(f"No option --{name}; the model's own: {known}.")


def answer_in_order(engine: Engine, fields: Values, names: list[str]) -> Answers:
    """Yield each name with its answer, which the future waits for."""
    max_bytes = current_app.config["MAX_CONTENT_LENGTH"]

    def submit(name: str) -> Any:
        return engine.submit(read_source(name, fields, max_bytes))

    def collect(submitted: Future[Any]) -> dict[str, Any]:
        return engine.collect(submitted.result())

    waiting: deque[tuple[str, Future[dict[str, Any]]]] = deque()
    submitters = ThreadPoolExecutor(engine.threads)
    collectors = ThreadPoolExecutor(engine.threads)
    with submitters, collectors:
        for name in names:
            if len(waiting) == engine.max_in_flight:  # This bounds the memory.
                yield waiting.popleft()
            submitted = submitters.submit(submit, name)
            waiting.append((name, collectors.submit(collect, submitted)))
        while waiting:
            yield waiting.popleft()


def write_answers(answers: Answers, count: int, out: Output) -> int:
    """Write the answers and the reasons for those that fail; return how many fail."""
    shows_progress = sys.stderr.isatty() and not out.is_terminal
    failed, started = 0, time.monotonic()
    bar: Any = click.progressbar(
        length=count,
        file=sys.stderr,
        show_pos=True,
        item_show_func=lambda rate: f"{rate:.1f}/s" if rate else None,
        hidden=not shows_progress,
    )
    with bar:
        for name, future in answers:
            try:
                answer = future.result()
            except Exception as error:
                failed += 1
                line = f"{escape(name)}: {explain(error)}"
                click.echo(f"{CLEAR_LINE * shows_progress}{line}", err=True)
            else:
                out.write(name, answer)
            bar.update(1, (bar.pos + 1) / (time.monotonic() - started))
    return failed


def explain(error: Exception) -> str:
    """Return the reason why an input has no answer; end the command where asked to."""
    match error:
        case click.ClickException():
            raise error
        case InputError():
            return str(error)
        case OSError():
            return error.strerror or str(error)
    return str(problem_body(to_http_error(error))["detail"])

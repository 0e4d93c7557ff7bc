"""`flask predict`: files, folders and URLs to answers, at full batch speed."""

import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain
from typing import Any

import click
from flask import current_app
from flask.cli import with_appcontext

from endpoint.responses import problem_body, to_http_error
from model_interface.files import Upload
from tools.predict_engines import Engine, LocalEngine, RemoteEngine
from tools.predict_fields import NO_SOURCES, CommandWithFields, parse_arguments
from tools.predict_output import FORMATS, AnyOutput, escape, open_output
from tools.predict_sources import InputError, expand_sources, read_lines
from tools.predict_storage import is_url
from tools.predict_tables import Rows, TableReader

CLEAR_LINE = "\r\033[K"  # removes the progress bar from a terminal
Answers = Iterator[tuple[str, Future[dict[str, Any]]]]


def parse_shard(_: click.Context, __: click.Parameter, value: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", value)
    number, count = map(int, found.groups()) if found else (0, 0)
    if not 0 < number <= count:
        problem = f"--shard {value} is not like 3/16, which is the third of 16 parts."
        raise click.UsageError(problem)
    return number, count


@click.command(cls=CommandWithFields, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="PATH|URL|-...")
@click.option(
    "--output",
    type=click.Path(path_type=str),
    help="Lines of answers (.jsonl, .csv, .txt), a folder.parquet of them, a folder/ "
    "for files of answers, or the file of one answer (.png). A later run continues "
    "lines and folders.",
)
@click.option(
    "--format", type=click.Choice(FORMATS), help="Default: the extension of --output."
)
@click.option("--lines", is_flag=True, help="Each line of a text is an input.")
@click.option(
    "--column",
    default="image",
    help="The column of Parquet that has the files, URLs or paths; image by default.",
)
@click.option(
    "--shard",
    default="1/1",
    callback=parse_shard,
    help="3/16 is the third of 16 equal parts of the inputs.",
)
@click.option("--field", multiple=True, help="NAME=VALUE; the same as --NAME VALUE.")
@click.option("--url", help="Send the inputs to this server; load no model here.")
@click.option("--api-key", envvar="ENDPOINT_API_KEY", help="Default: ENDPOINT_API_KEY.")
@with_appcontext
def predict(
    arguments: tuple[str, ...],
    output: str | None,
    format: str | None,
    lines: bool,
    column: str,
    shard: tuple[int, int],
    field: tuple[str, ...],
    url: str | None,
    api_key: str | None,
) -> None:
    """Run the model on files, folders, URLs or standard input.

    A glob in quotes is expanded here; - is standard input.
    """
    arguments = (*(f"--{each}" for each in field), *arguments)
    with open_output(output, format) as out:
        engine = start_engine(url, api_key, arguments, out.takes_files)
        values, sources = parse_arguments(arguments, engine.fields)
        engine.start(values)
        names, inputs = find_inputs(sources, engine.accepts, lines, column)
        names = take_shard(out.plan(names, sources), shard)
        sys.exit(answer_all(engine, names, inputs, out))


def take_shard(names: list[str], shard: tuple[int, int]) -> list[str]:
    number, count = shard
    start, end = (len(names) * each // count for each in (number - 1, number))
    return names[start:end]


def answer_all(
    engine: Engine,
    names: list[str],
    inputs: Callable[[Iterable[str]], Rows],
    out: AnyOutput,
) -> bool:
    """Answer the inputs that have no answer yet; return whether one has failed."""
    todo = [name for name in names if not out.has_answer(name)]
    answers = answer_in_order(engine, inputs(todo))
    failed = write_answers(answers, len(todo), out)
    done, before = len(todo) - failed, len(names) - len(todo)
    click.echo(f"{done} done, {failed} failed, {before} done before.", err=True)
    return bool(failed)


def start_engine(
    url: str | None, api_key: str | None, arguments: tuple[str, ...], draws: bool
) -> Engine:
    if not arguments:
        raise click.UsageError(NO_SOURCES)
    if url:
        return RemoteEngine(url.rstrip("/"), api_key, draws)
    fetches_urls = any(map(is_url, arguments))
    return LocalEngine(current_app.config["MODULE"], fetches_urls, draws)


def find_inputs(
    sources: list[str], accepts: str, lines: bool, column: str
) -> tuple[Iterable[str], Callable[[Iterable[str]], Rows]]:
    """Return the names of the inputs, and a function that yields and reads some."""
    paths = dict.fromkeys(expand_sources(sources, accepts))
    if lines:
        if not accepts.startswith("text/"):
            problem = f"--lines is for texts; this model accepts {accepts}."
            raise click.UsageError(problem)
        texts = read_lines(paths)
        read_line = texts.__getitem__
        return texts, lambda todo: ((name, partial(read_line, name)) for name in todo)
    reader = TableReader(accepts, column, current_app.config["MAX_CONTENT_LENGTH"])
    names = {path: read_names(reader, path) for path in paths}

    def inputs(todo: Iterable[str]) -> Rows:
        wanted = set(todo)
        for path in paths:
            if not wanted.isdisjoint(names[path]):
                for name, read in reader.rows(path, wanted.__contains__):
                    wanted.remove(name)  # A URL may be in several rows.
                    yield name, read

    return dict.fromkeys(chain.from_iterable(names.values())), inputs


def read_names(reader: TableReader, path: str) -> list[str]:
    """Return the names of the inputs in a file; end the command if it is no table."""
    try:
        return reader.names(path)
    except (InputError, OSError) as error:
        raise click.ClickException(f"{path}: {explain(error)}") from None


def answer_in_order(engine: Engine, inputs: Rows) -> Answers:
    """Yield each name with its answer, which the future waits for."""

    def submit(read: Callable[[], Upload]) -> Any:
        return engine.submit(read())

    def collect(submitted: Future[Any]) -> dict[str, Any]:
        return engine.collect(submitted.result())

    waiting: deque[tuple[str, Future[dict[str, Any]]]] = deque()
    submitters = ThreadPoolExecutor(engine.threads)
    collectors = ThreadPoolExecutor(engine.threads)
    with submitters, collectors:
        for name, read in inputs:
            if len(waiting) == engine.max_in_flight:  # This bounds the memory.
                yield waiting.popleft()
            submitted = submitters.submit(submit, read)
            waiting.append((name, collectors.submit(collect, submitted)))
        while waiting:
            yield waiting.popleft()


def write_answers(answers: Answers, count: int, out: AnyOutput) -> int:
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
                out.write(name, future.result())
            except BrokenPipeError:  # click ends quietly, for `| head`.
                raise
            except Exception as error:
                failed += 1
                line = f"{escape(name)}: {explain(error)}"
                click.echo(f"{CLEAR_LINE * shows_progress}{line}", err=True)
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

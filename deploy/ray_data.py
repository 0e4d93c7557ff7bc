"""Files to answers over a cluster: `python -m deploy.ray_data SOURCE... TARGET`.

Tasks on the CPUs read and decode. An actor on each GPU, or on a share of one, predicts
in full batches and writes each block of answers as one file. A block that is lost with
its process is done again, and its file has the same name.
"""

import importlib
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import chain, islice
from typing import Any

import click
import pyarrow as pa
import ray
import ray.data
from ray import cloudpickle
from werkzeug.exceptions import HTTPException

from endpoint import create_app
from endpoint.batcher import EXIT_CRASHED
from endpoint.job_queue import NotReady
from model_interface.fields import NoFields, Values, parse_fields, schemas
from model_interface.files import Upload
from tools.predict import answer_in_order, explain
from tools.predict_engines import FETCH_THREADS, Decoded, LocalEngine
from tools.predict_fields import class_fields, parse_arguments
from tools.predict_parts import read_parts, to_utf8, write_part
from tools.predict_sources import InputError, expand_sources, is_table
from tools.predict_tables import Rows, TableReader

FILES = 64  # that a task on a CPU reads
ROWS = 256  # of a block: inputs, and a row with an empty name after each file or table
RETRIES = 3  # of a block whose process ends: one of its inputs may be the reason
REPORT = 10  # seconds between two lines of progress

get_app, get_object = cache(create_app), cache(ray.get)  # once in each process


@dataclass
class Job:
    """What all processes know."""

    folder: str  # where the command runs: paths are relative to it
    reader: TableReader
    values: Values
    done: ray.ObjectRef  # the names that have a row in the target
    target: str


FINISHED = cloudpickle.dumps("")  # follows the last input of each file or table


class Decoder:
    """Read and decode in a task, where the model is not loaded."""

    threads, max_in_flight = FETCH_THREADS, 4 * FETCH_THREADS

    def __init__(self, job: Job) -> None:
        module = get_app().config["MODULE"]
        model_class = importlib.import_module(module).Model
        self.model = model_class.__new__(model_class)
        self.fields = parse_fields(class_fields(module) or NoFields, job.values)
        self.reader, self.done = job.reader, get_object(job.done)

    def read(self, source: str) -> Rows:
        """Yield the inputs in a file or a table, and then one with an empty name."""
        try:
            yield from self.reader.rows(source, lambda n: to_utf8(n) not in self.done)
        except (InputError, OSError) as error:  # of a table
            if to_utf8(source) not in self.done:
                yield source, partial(unpack, cloudpickle.dumps(explain(error)))
        yield "", partial(unpack, FINISHED)

    def submit(self, upload: Upload) -> bytes:
        try:
            input = self.model.decode(replace(upload, fields=self.fields))
            return cloudpickle.dumps(Decoded(input))
        except HTTPException as error:
            return cloudpickle.dumps(explain(error))
        except Exception:  # Most often, decode uses what __init__ would have loaded.
            return cloudpickle.dumps(upload)

    def collect(self, payload: bytes) -> bytes:
        return payload


def unpack(payload: bytes) -> Upload | Decoded:
    """Return what the model gets; raise the reason why it gets nothing."""
    value = cloudpickle.loads(payload)
    if isinstance(value, str):
        raise InputError(value)
    return value


def decode(block: pa.Table, job: Job) -> Iterator[pa.Table]:
    """Read and decode the files or the table in a block; yield blocks of inputs."""
    os.chdir(job.folder)
    decoder, names, payloads = Decoder(job), [], []
    with get_app().app_context():
        sources = map(os.fsdecode, block["source"].to_pylist())
        rows = chain.from_iterable(map(decoder.read, sources))
        for name, future in answer_in_order(decoder, rows):
            names.append(os.fsencode(name))
            try:
                payloads.append(future.result())
            except Exception as error:
                payloads.append(cloudpickle.dumps(explain(error)))
            if len(names) == ROWS:
                yield to_table(names, payloads)
                names, payloads = [], []
    yield to_table(names, payloads)


def to_table(names: list[bytes], payloads: list[bytes]) -> pa.Table:
    column = pa.array(payloads, "large_binary")  # of over 2 GB
    return pa.table({"name": pa.array(names, "binary"), "payload": column})


class Predictor:
    """The model in an actor, behind the batcher that HTTP has as well."""

    def __init__(self, folder: str, values: Values, target: str) -> None:
        if ray.get_runtime_context().get_accelerator_ids()["GPU"]:
            os.environ.setdefault("ENDPOINT_DEVICE", "cuda")  # never the CPU instead
        os.chdir(folder)
        self.target, self.app = target, get_app()
        self.engine = LocalEngine(self.app.config["MODULE"], True, False)
        self.engine.start(values)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Write the answers; return how many inputs had which error, "" for none."""
        rows = []
        inputs = (
            (os.fsdecode(name.as_py()), partial(unpack, payload.as_py()))
            for name, payload in zip(block["name"], block["payload"])
            if name.as_py()
        )
        with self.app.app_context():
            for name, future in answer_in_order(self.engine, inputs):
                try:
                    row = future.result()
                except NotReady:  # The GPU has failed: a new process does the block.
                    os._exit(EXIT_CRASHED)
                except Exception as error:
                    row = {"error": explain(error)}
                rows.append({"input": name, **row})
            if rows:
                write_part(self.target, rows, self.engine.example())
        errors = {None: len(block) - len(rows)}  # files and tables that are finished
        errors |= Counter(row.get("error", "") for row in rows)
        return pa.table({"error": [*errors], "count": [*errors.values()]})


def to_blocks(paths: list[str]) -> list[pa.Table]:
    """Return what each task reads: one table, or some files."""
    parts = [[path] for path in paths if is_table(path)]
    files = iter([path for path in paths if not is_table(path)])
    while part := list(islice(files, FILES)):
        parts.append(part)
    return [pa.table({"source": [*map(os.fsencode, part)]}) for part in parts]


def find_workers() -> dict[str, Any]:
    """Return how many actors predict and what each occupies, as map_batches takes it.

    The variables are those of Ray Serve; without a GPU, each node has one actor.
    """
    gpus = ray.cluster_resources().get("GPU", 0)
    share = float(os.environ.get("GPUS_PER_REPLICA", bool(gpus)))
    found = int(gpus / share) if share else len(ray.nodes())
    count = int(os.environ.get("MAX_REPLICAS") or max(found, 1))
    pool = ray.data.ActorPoolStrategy(
        min_size=1,
        max_size=count,
        initial_size=count,
        # While one block ends, the next one fills the batches.
        max_concurrent_calls_per_actor=2,
        enable_true_multi_threading=True,
    )
    return {"compute": pool, "num_gpus": share, "num_cpus": int(not share)}


def run(paths: list[str], job: Job) -> Counter[str | None]:
    """Answer all inputs; return how many had which error, as the actors do."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    inputs = ray.data.from_arrow(to_blocks(paths)).map_batches(
        decode, batch_size=None, batch_format="pyarrow", fn_args=[job]
    )
    answers = inputs.map_batches(
        Predictor,
        batch_size=ROWS,
        batch_format="pyarrow",
        fn_constructor_args=[job.folder, job.values, job.target],
        max_task_retries=RETRIES,  # the default: for ever
        **find_workers(),
    )
    counts, first, shown = Counter[str | None](), None, 0.0
    for block in answers.iter_batches(batch_size=None, batch_format="pyarrow"):
        for row in block.to_pylist():
            counts[row["error"]] += row["count"]
        if not first:  # Loading the model does not count.
            shown = time.monotonic()
            first = counts.copy(), shown
        if time.monotonic() > shown + REPORT:
            shown = time.monotonic()
            show_progress(counts, len(paths), counts - first[0], shown - first[1])
    del counts[None]
    return counts


def show_progress(counts: Counter, sources: int, last: Counter, seconds: float) -> None:
    """Show progress, rate and time left; `last` counts the last `seconds`."""
    finished, rate = counts[None], (last.total() - last[None]) / seconds
    done = f"{counts.total() - finished:,} inputs, {rate:,.1f} a second"
    left = (sources - finished) * seconds / max(last[None], 1)
    part = f"{finished:,} of {sources:,} files, {left / 60:,.0f} minutes left"
    click.echo(f"{done}; {part}", err=True)


def environment() -> dict[str, str]:
    """Return the settings for all processes, without the API key of a server."""
    names = [each for each in os.environ if each.startswith(("ENDPOINT_", "OMP_"))]
    return {each: os.environ[each] for each in names if each != "ENDPOINT_API_KEY"}


@click.command()
@click.argument("sources", nargs=-1, required=True)
@click.argument("target")
@click.option("--column", default="image", help="Of Parquet, with files or URLs.")
@click.option("--field", multiple=True, help="NAME=VALUE of a field of the model.")
@click.option("--resume", is_flag=True, help="Leave out what has a row in TARGET.")
def main(sources: tuple[str, ...], target: str, resume: bool, **options: Any) -> None:
    """Answer files, folders, globs in quotes, Parquet and tars, here or in buckets.

    TARGET is a folder of Parquet files, or of JSON lines if its name ends with .jsonl.
    """
    paths, reader, values = plan(sources, **options)
    done = dict(chain.from_iterable(read_parts(target)))
    if done and not resume:
        raise click.UsageError(f"{target} has answers: add --resume, or name another.")
    ray.init(runtime_env={"env_vars": environment()})
    job = Job(os.getcwd(), reader, values, ray.put(frozenset(done)), target)
    try:
        counts = run(paths, job)
    except ray.exceptions.RayError as error:
        problem = f"The job has ended, and --resume continues it: {error}"
        raise click.ClickException(problem) from None
    counts.update(error or "" for error in done.values())
    sys.exit(summarize(counts, len(done)))


def plan(
    sources: tuple[str, ...], column: str, field: tuple[str, ...]
) -> tuple[list[str], TableReader, Values]:
    """Return the files and tables, what reads them, and the values of the fields."""
    config = get_app().config
    fields = schemas(class_fields(config["MODULE"]) or NoFields)
    arguments = (*(f"--{each}" for each in field), *sources)
    values, paths = parse_arguments(arguments, fields)
    model_class = importlib.import_module(config["MODULE"]).Model
    accepts = getattr(model_class, "accepts", "image/*")
    reader = TableReader(accepts, column, config["MAX_CONTENT_LENGTH"])
    files = list(dict.fromkeys(expand_sources(paths, accepts)))
    if not files:
        raise click.UsageError(f"{', '.join(paths)} has no {accepts}.")
    return files, reader, values


def summarize(counts: Counter[str], before: int) -> bool:
    """Show how many inputs had which error; return whether one had any."""
    failed = counts.total() - counts[""]
    done = f"{counts['']:,} answered, {failed:,} failed, {before:,} of both before."
    click.echo(done, err=True)
    for error, count in counts.most_common():
        if error:
            click.echo(f"{count:,} failed: {error}", err=True)
    return failed > 0


if __name__ == "__main__":
    # Processes import by name what is sent to them, which __main__ is not.
    importlib.import_module("deploy.ray_data").main()

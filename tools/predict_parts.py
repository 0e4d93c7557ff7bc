"""Answers to a folder of Parquet files or JSON lines, which many processes may fill."""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tools.predict_storage import (
    arrow,
    is_url,
    list_stored,
    locate,
    open_file,
    save,
    stored,
)

ROWS = 1000  # of a file; a run that is killed answers as many again
SUFFIXES = (".parquet", ".jsonl")
Row = Mapping[str, Any]


class PartsOutput:
    """A folder, here or in a bucket, of files that appear whole."""

    takes_files, is_terminal = False, False

    def __init__(self, folder: str) -> None:
        self.folder, self._rows = folder, list[Row]()
        self._done = {name for part in read_parts(folder) for name, _ in part}

    def __enter__(self) -> "PartsOutput":
        return self

    def __exit__(self, *error: object) -> None:
        self._flush()

    def plan(self, names: Iterable[str], sources: Sequence[str]) -> list[str]:
        """Return all inputs: each of them can get a row."""
        return list(names)

    def has_answer(self, name: str) -> bool:
        """Return whether the folder held an answer for an input before this run."""
        return to_utf8(name) in self._done

    def write(self, name: str, answer: Row) -> None:
        self._rows.append({"input": name, **answer})
        if len(self._rows) == ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            write_part(self.folder, self._rows, self._rows[0])
        self._rows = []


def to_utf8(name: str) -> str:
    """Write the bytes of a name that are not UTF-8 as \\xff."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def write_part(folder: str, rows: Sequence[Row], example: Row) -> None:
    """Write a file, named after the inputs in it: the same rows replace it.

    The columns of Parquet are those of the example and of the rows; an input without
    an answer has an error.
    """
    rows = [{**row, "input": to_utf8(row["input"])} for row in rows]
    names = "\n".join(row["input"] for row in rows)
    digest = hashlib.sha256(names.encode()).hexdigest()[:20]
    suffix = part_suffix(folder)
    if suffix == ".jsonl":
        data = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    else:
        data = to_parquet(rows, example)
    with stored(folder):
        save(f"{folder.rstrip('/')}/{digest}{suffix}", data)


def to_parquet(rows: Sequence[Row], example: Row) -> bytes:
    """Return a table; lists and objects are JSON, so that the types never differ."""
    keys = [key for row in (example, *rows) for key in row if key != "error"]
    columns = {}
    for key in dict.fromkeys(["input", *keys, "error"]):
        values = [_to_cell(row.get(key)) for row in (example, *rows)]
        try:
            column = arrow("lib").array(values)
        except (TypeError, ValueError):  # several types in one column
            column = arrow("lib").array([json.dumps(value) for value in values])
        is_empty = column.null_count == len(values)
        columns[key] = (column.cast("string") if is_empty else column).slice(1)
    stream = io.BytesIO()
    arrow("parquet").write_table(arrow("lib").table(columns), stream)
    return stream.getvalue()


def _to_cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def read_parts(folder: str) -> Iterator[list[tuple[str, str | None]]]:
    """Yield the inputs of each file, with their errors."""
    with stored(folder):
        filesystem, path = locate(folder)
        if filesystem.get_file_info(path).type != arrow("fs").FileType.Directory:
            return
    suffix = part_suffix(folder)
    url = folder if is_url(folder) else f"file://{path}"
    for part in list_stored(url, lambda name: is_part(name, suffix)):
        with open_file(part) as file:
            if suffix == ".jsonl":
                rows = list(map(json.loads, file))
            else:
                table = arrow("parquet").read_table(file, columns=["input", "error"])
                rows = table.to_pylist()
        yield [(row["input"], row.get("error")) for row in rows]


def is_part(path: str, suffix: str) -> bool:
    name = path.rpartition("/")[2]
    return name.endswith(suffix) and not name.startswith(".")


def part_suffix(folder: str) -> str:
    return ".jsonl" if folder.rstrip("/").endswith(".jsonl") else ".parquet"

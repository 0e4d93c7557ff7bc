"""Answers to lines of JSON, CSV or text, in a file that a later run continues."""

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any, BinaryIO

import click

FORMS = ("jsonl", "csv", "text")


class Output:
    """A file of answers; `done` holds the names of the inputs it has one for.

    Each line is written at once and whole: a torn last one is of a run that was killed.
    """

    def __init__(self, path: Path | None, form: str | None) -> None:
        self.form = form or (path and path.suffix[1:])
        if self.form not in FORMS:
            self.form = "text"
        self.is_terminal = path is None and sys.stdout.isatty()
        self.columns: list[str] = []
        self.done: set[str] = set()
        if path and path.exists():
            self._resume(path)
        self._file: BinaryIO = path.open("ab") if path else sys.stdout.buffer

    def __enter__(self) -> "Output":
        return self

    def __exit__(self, *failure: object) -> None:
        if self._file is not sys.stdout.buffer:
            self._file.close()

    def _resume(self, path: Path) -> None:
        """Learn from a file what is done and cut off its torn last line."""
        with path.open("rb+") as file:
            end = 0
            for line in file:
                if line.endswith(b"\n"):
                    end += len(line)
                    self._learn(line.decode(), path)
            file.truncate(end)

    def _learn(self, line: str, path: Path) -> None:
        try:
            if self.form == "jsonl":
                self.done.add(json.loads(line)["input"])
            elif self.form == "text":
                self.done.add(line[: line.rindex("\t")])
            elif self.columns:
                self.done.add(next(csv.reader([line]))[0])
            else:
                self.columns = next(csv.reader([line]))
        except (ValueError, KeyError, TypeError, IndexError):
            sentence = f"{path} holds other things than answers as {self.form}."
            raise click.ClickException(sentence) from None

    def write(self, name: str, answer: dict[str, Any]) -> None:
        values = {"input": name} | answer
        if self.form == "jsonl":
            line = json.dumps(values) + "\n"
        elif self.form == "text":
            line = f"{name}\t{_one_line(next(iter(answer.values())))}\n"
        else:
            line = self._row(values)
        self._file.write(line.encode(errors="surrogateescape"))
        self._file.flush()

    def _row(self, values: dict[str, Any]) -> str:
        """Return a line of CSV; above the first one, the names of the columns."""
        rows = [] if self.columns else [list(values)]
        self.columns = self.columns or list(values)
        rows.append([_one_line(values.get(column, "")) for column in self.columns])
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue()


def _one_line(value: Any) -> str:
    return " ".join((value if isinstance(value, str) else json.dumps(value)).split())

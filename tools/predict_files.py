"""Answers to files: a folder of them, which a later run continues, or a single one."""

import glob
import mimetypes
import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from model_interface.files import DATA_URI, File, from_base64, guess_media_type
from tools.predict_sources import InputError
from tools.predict_storage import is_url

# Extensions that Python does not know, or for which it has a rarer one.
EXTENSIONS = {
    "application/octet-stream": ".bin",
    "audio/flac": ".flac",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "audio/wav": ".wav",
    "image/jpeg": ".jpg",
    "image/tiff": ".tif",
    "image/webp": ".webp",
    "model/gltf-binary": ".glb",
    "text/plain": ".txt",
}
PART = ".part"  # the end of the name of a file that is being written
NO_FILE = "The answer has no file: for lines of answers, name a .jsonl, .csv or .txt."


def files_of(answer: dict[str, Any]) -> list[File]:
    """Return the files of an answer, which are data: URIs or lists of them."""
    files: list[File] = []
    for value in answer.values():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, str) and DATA_URI.match(each):
                with suppress(ValueError):  # a text that only begins like one
                    files.append(from_base64(each))
    return files


def simple_type(media_type: str) -> str:
    """Return a media type without parameters, and audio/wav for audio/x-wav."""
    return media_type.partition(";")[0].strip().lower().replace("/x-", "/")


def extension(media_type: str) -> str:
    """Return the extension for a media type: .png for image/png."""
    kind = simple_type(media_type)
    guess = EXTENSIONS.get(kind) or mimetypes.guess_extension(kind, strict=False)
    return guess or f".{re.sub('[^a-z0-9]+', '-', kind.rpartition('/')[2]) or 'bin'}"


def save(path: Path, data: bytes) -> None:
    """Write a file that appears whole, also if the process is killed."""
    part = path.with_name(f".{path.name}{PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        problem = f"{path} cannot be written: {error.strerror}."
        raise click.ClickException(problem) from None


class FolderOutput:
    """A folder with the files of the answers, each named after its input."""

    takes_files, is_terminal = True, False

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.abspath(folder))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise click.FileError(str(folder), error.strerror) from None
        found = [p for p in self.folder.rglob("*") if p.is_file()]
        self._found = {str(path) for path in found if path.suffix != PART}
        # Which extension an answer will have is not known before there is one.
        self._done = {os.path.splitext(path)[0] for path in self._found}
        self._names: dict[str, str] = {}  # without extensions, by input

    def __enter__(self) -> "FolderOutput":
        return self

    def __exit__(self, *error: object) -> None: ...

    def plan(self, names: Iterable[str], sources: Sequence[str]) -> list[str]:
        """Name the files; return the inputs without the answers of earlier runs."""
        is_source = self.folder in {Path(os.path.abspath(each)) for each in sources}
        inputs = []
        for name in names:
            if is_url(name) or os.path.abspath(name) not in self._found:
                inputs.append(name)
            elif name in sources or is_source:
                problem = f"{name} is in the folder for the answers: name another one."
                raise click.UsageError(problem)
        self._names = file_names(inputs, sources)
        return inputs

    def has_answer(self, name: str) -> bool:
        """Return whether the folder held an answer before this run."""
        path = str(self.folder / self._names[name])
        return path in self._done or f"{path}-1" in self._done

    def write(self, name: str, answer: dict[str, Any]) -> None:
        """Write cat.png, or cat-1.png and cat-2.png."""
        files = files_of(answer)
        if not files:
            raise InputError(NO_FILE)
        # The first is written last: if it exists, all of them do.
        for number, file in reversed([*enumerate(files, start=1)]):
            end = f"-{number}" if len(files) > 1 else ""
            end += extension(file.media_type)
            save(self.folder / f"{self._names[name]}{end}", file.data)


class FileOutput:
    """One file, for the answer to one input."""

    takes_files, is_terminal = True, False

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.parent.is_dir():
            raise click.FileError(str(path), "No such folder")

    def __enter__(self) -> "FileOutput":
        return self

    def __exit__(self, *error: object) -> None: ...

    def plan(self, names: Iterable[str], sources: Sequence[str]) -> list[str]:
        """Refuse several inputs, and an input that the answer would overwrite."""
        inputs = list(names)
        if len(inputs) != 1:
            problem = f"{self.path} is for one input: for {len(inputs)}, name a folder."
            raise click.UsageError(f"{problem[:-1]}, such as answers/.")
        if os.path.abspath(inputs[0]) == os.path.abspath(self.path):
            raise click.UsageError(f"{self.path} is the input: name another file.")
        return inputs

    def has_answer(self, name: str) -> bool:
        return False  # An older file may be the answer to another input.

    def write(self, name: str, answer: dict[str, Any]) -> None:
        files, suffix = files_of(answer), self.path.suffix.lower()
        wanted = simple_type(guess_media_type(self.path.name))
        fitting = [
            file
            for file in files
            if extension(file.media_type) == suffix
            or simple_type(file.media_type) == wanted
        ]
        kinds = ", ".join(simple_type(file.media_type) for file in files)
        if not files:
            raise InputError(NO_FILE)
        if not fitting:
            raise InputError(
                f"The answer's file is {kinds}, which {suffix} does not fit."
            )
        if len(fitting) > 1:
            count = f"The answer has {len(fitting)} such files ({kinds})"
            raise InputError(f"{count}: name a folder, such as answers/.")
        save(self.path, fitting[0].data)


def file_names(names: Iterable[str], sources: Iterable[str]) -> dict[str, str]:
    """Return the path of each input's answer below the folder, without extension.

    Inputs that would have the same keep their own extension: cat.jpg and cat.png.
    """
    paths = dict(relative_paths(names, sources))
    short = {name: without_extension(path) for name, path in paths.items()}
    # An input without extension gets a _, so that cat and cat-1 never share a name.
    whole = {n: p if os.path.splitext(p)[1] else f"{p}_" for n, p in paths.items()}
    while alike := [n for n in find_alike(short) if short[n] != whole[n]]:
        short |= {name: whole[name] for name in alike}
    counts = Counter(short.values())
    for name, path in short.items():
        if counts[path] > 1:
            problem = f"Two inputs are named {path}: run {name} by itself."
            raise click.UsageError(problem)
    return short


def find_alike(paths: dict[str, str]) -> list[str]:
    """Return the inputs whose answers could have equal names: also cat and cat-1."""
    counts = Counter(paths.values())
    bases = {path: re.sub(r"-\d+$", "", path) for path in counts}
    alike = {path for path in counts if counts[path] > 1}
    for path, base in bases.items():
        if path != base and base in counts:
            alike |= {path, base}
    return [name for name, path in paths.items() if path in alike]


def without_extension(path: str) -> str:
    """Return cat for cat.jpg, and reviews-12 for line 12, reviews.txt:12."""
    line = re.fullmatch(r"(.+):(\d+)", path)
    if line:
        return f"{os.path.splitext(line[1])[0]}-{line[2]}"
    return os.path.splitext(path)[0]


def relative_paths(
    names: Iterable[str], sources: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """Yield each input with its path below the folder that all of them share."""
    tops = [top_folder(source) for source in sources if source != "-"]
    roots = {
        kind: os.path.commonpath(folders)
        for kind in (True, False)
        if (folders := [folder for is_remote, folder in tops if is_remote == kind])
    }
    for name in names:
        if re.fullmatch(r"-(:\d+)?", name):
            yield name, f"stdin{name[1:]}"
        else:
            path = url_path(name) if is_url(name) else os.path.abspath(name)
            yield name, os.path.relpath(path, roots[is_url(name)])


def top_folder(source: str) -> tuple[bool, str]:
    """Return whether a source is a URL, and the folder of all of its inputs."""
    if is_url(source):
        return True, posixpath.dirname(url_path(source))
    path = os.path.abspath(source)
    if os.path.isdir(path):
        return False, path
    path = os.path.dirname(path)
    while glob.has_magic(path) and not os.path.exists(path):
        path = os.path.dirname(path)
    return False, path


def url_path(url: str) -> str:
    """Return a URL as a path that stays below its folder, whatever is in it."""
    path = quote(url.partition("://")[2], safe="/:").lstrip("/")
    return posixpath.normpath(f"/{path}")

"""Files as rows of Parquet and as a shard of WebDataset, and rows of answers."""

import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write_parquet(path: Path, files: Iterable[Path]) -> Path:
    """Write the files as a column named image."""
    import pyarrow.parquet

    table = pyarrow.table({"image": [file.read_bytes() for file in files]})
    pyarrow.parquet.write_table(table, path, row_group_size=64)
    return path


def write_shard(path: Path, files: Iterable[Path]) -> Path:
    """Write the files with a text beside each, as a data set has captions."""
    with tarfile.open(path, "w") as tar:
        for file in files:
            tar.add(file, file.name)
            tar.addfile(tarfile.TarInfo(f"{file.stem}.txt"))
    return path


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of all files of answers, sorted by their inputs."""
    import pyarrow.parquet

    rows = []
    for path in folder.glob("*.jsonl"):
        rows += map(json.loads, path.read_text().splitlines())
    for path in folder.glob("*.parquet"):
        rows += pyarrow.parquet.read_table(path).to_pylist()
    return sorted(rows, key=lambda row: row["input"])

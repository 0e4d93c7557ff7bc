"""Measurements to files: where results are, how they are written, and their median."""

import json
import statistics
from collections import Counter
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def write(results: dict, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


def median(values: list):
    """Return the median of numbers; of dictionaries, that of each common key.

    The counts under the key "errors" are added.
    """
    if isinstance(values[0], dict):
        common = [key for key in values[0] if all(key in value for value in values)]
        return {
            key: (
                dict(sum((Counter(value[key]) for value in values), Counter()))
                if key == "errors"
                else median([value[key] for value in values])
            )
            for key in common
        }
    return statistics.median(values)

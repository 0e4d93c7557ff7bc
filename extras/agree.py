"""Put the versions of poetry.lock into extras/poetry.lock: `make lock` uses it.

Poetry keeps the versions that it finds in a lock file wherever it can. With those of
the server in extras/poetry.lock, it locks the same ones for the extras.
"""

import re
from pathlib import Path

EXTRAS = Path(__file__).with_name("poetry.lock")
SERVER = Path(__file__).parent.parent / "poetry.lock"
START = "[[package]]\n"
END = "[metadata]\n"


def packages(lock: str) -> dict[str, str]:
    """Return the entries of a lock file by the names of their packages."""
    _, *entries = lock.partition(END)[0].split(START)
    return {re.findall('^name = "(.+)"$', entry, re.M)[0]: entry for entry in entries}


def main() -> None:
    lock = EXTRAS.read_text()
    merged = packages(lock) | packages(SERVER.read_text())
    head, tail = lock.partition(START)[0], lock.partition(END)[2]
    entries = "".join(START + merged[name] for name in sorted(merged))
    EXTRAS.write_text(head + entries + END + tail)


if __name__ == "__main__":
    main()

"""Good requests, damaged at random: `python -m tests.stress.fuzz_images --cases 20000`.

Only a picture or a 4xx may come out of any of them.
"""

import argparse
import io
import random
import struct
import time
import traceback
import zlib
from collections import Counter
from dataclasses import dataclass, field

from werkzeug.exceptions import HTTPException
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from endpoint.decoders.image import decode_image
from endpoint.uploads import parse_uploads
from tests.stress import corpus

SLOW = 2.0  # seconds of processor time
ODD = (0, 1, 2, 6, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


class Limited(Request):
    max_content_length = 20_000_000
    max_form_parts = 100
    max_form_memory_size = 500_000


@dataclass
class Figures:
    """What came out: how often, after which of the decoders' exceptions, how fast."""

    outcomes: Counter = field(default_factory=Counter)
    causes: Counter = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)

    def __str__(self) -> str:
        lines = [f"{count:7} {name}" for name, count in self.outcomes.most_common()]
        lines += ["behind the 4xx:"]
        lines += [f"{count:7} {name}" for name, count in self.causes.most_common()]
        lines += ["slowest: %.2f s of processor time, case %d" % self.slowest]
        return "\n".join([*lines, f"failures: {len(self.failures)}", *self.failures])


def flip(data: bytearray, chance: random.Random) -> bytearray:
    for _ in range(chance.choice((1, 1, 3, 20))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def overwrite(data: bytearray, chance: random.Random) -> bytearray:
    """Put an odd number where a length or an offset may stand."""
    size = chance.choice("BHI")
    value = chance.choice(ODD) & (256 ** struct.calcsize(size) - 1)
    # Headers hold most of the numbers.
    end = chance.choice((64, 64, 700, len(data)))
    place = chance.randrange(max(1, min(end, len(data) - 4)))
    number = struct.pack(chance.choice("<>") + size, value)
    return data[:place] + number + data[place + len(number) :]


def truncate(data: bytearray, chance: random.Random) -> bytearray:
    return data[: chance.randrange(len(data))]


def repeat(data: bytearray, chance: random.Random) -> bytearray:
    start, end = sorted(chance.randrange(len(data)) for _ in range(2))
    return data[:end] + data[start:end] * chance.choice((1, 2, 50)) + data[end:]


def remove(data: bytearray, chance: random.Random) -> bytearray:
    start = chance.randrange(len(data))
    return data[:start] + data[start + chance.choice((1, 2, 4, 100)) :]


def splice(data: bytearray, chance: random.Random) -> bytearray:
    other = chance.choice(SEEDS)
    return data[: chance.randrange(len(data))] + other[chance.randrange(len(other)) :]


def change_exif(data: bytearray, chance: random.Random) -> bytearray:
    """Give the file another EXIF block, as broken as can be."""
    tag = (corpus.EXIF_ORIENTATION, chance.randrange(14), 1, chance.choice(ODD))
    block = bytearray(b"Exif\0\0" + corpus.directory(tag))
    for _ in range(chance.randrange(4)):
        block = chance.choice((flip, overwrite))(block, chance)
    if data.startswith(b"\xff\xd8"):
        return bytearray(corpus.with_segments(corpus.segment(0xE1, block), file=data))
    if data.startswith(b"\x89PNG"):
        return data[:33] + corpus.chunk(b"eXIf", bytes(block[6:])) + data[33:]
    if data.startswith(b"RIFF"):
        return bytearray(corpus.saved(corpus.drawn(), "WEBP", exif=bytes(block)))
    return data


def mend(data: bytearray, chance: random.Random) -> bytearray:
    """Make a PNG's checksums right again, so that what is behind them is reached."""
    place = 8
    while data.startswith(b"\x89PNG") and place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[place + 4 : end]))
        place = end + 4
    return data


DAMAGES = (
    flip,
    flip,
    overwrite,
    overwrite,
    truncate,
    repeat,
    remove,
    splice,
    change_exif,
)
SEEDS = tuple(corpus.seeds().values())


def damaged(data: bytes, chance: random.Random, times: int) -> bytes:
    data = bytearray(data)
    for _ in range(times):
        if data:
            data = chance.choice(DAMAGES)(data, chance)
    return bytes(mend(data, chance) if chance.random() < 0.7 else data)


def request(chance: random.Random) -> Limited:
    """Return a request, one in five of them with a damaged frame around the picture."""
    data = damaged(chance.choice(SEEDS), chance, chance.choice((0, 1, 1, 2, 4)))
    kind, body = chance.choice(
        (
            ("image/jpeg", data),
            (corpus.MULTIPART, corpus.part(data) + b"--B--\r\n"),
            (
                "application/json",
                b'{"image": "%b"}' % corpus.base64_text(data).encode(),
            ),
        )
    )
    if kind != "image/jpeg" and chance.random() < 0.4:
        body = damaged(body, chance, 1)
    length = str(len(body) if chance.random() < 0.95 else chance.choice(ODD))
    builder = EnvironBuilder(
        method="POST",
        input_stream=io.BytesIO(body),
        content_type=kind,
        headers={"Content-Length": length},
    )
    environ = builder.get_environ()
    environ["wsgi.input_terminated"] = chance.random() < 0.5 or None
    return Limited({key: value for key, value in environ.items() if value is not None})


def answer(sent: Limited, figures: Figures) -> None:
    try:
        with sent:
            pictures = [decode_image(upload) for upload in parse_uploads(sent)]
        assert {picture.mode for picture in pictures} == {"RGB"}
        figures.outcomes["a picture"] += 1
    except HTTPException as error:
        figures.outcomes[f"{error.code} {error.name}"] += 1
        if error.__context__:
            figures.causes[f"{error.code} {type(error.__context__).__name__}"] += 1
        if not 400 <= error.code < 500:
            figures.failures.append(traceback.format_exc())


def run(cases: int, seed: int, seconds: float = float("inf")) -> Figures:
    """Try a number of cases, fewer where the time is over first."""
    figures = Figures()
    until = time.monotonic() + seconds
    for number in range(cases):
        if time.monotonic() > until:
            break
        # A case can be tried again by its own number.
        sent = request(random.Random(f"{seed}/{number}"))
        started = time.thread_time()
        try:
            answer(sent, figures)
        except Exception:
            figures.failures.append(f"case {number}: {traceback.format_exc()}")
        taken = time.thread_time() - started
        figures.slowest = max(figures.slowest, (taken, number))
        if taken > SLOW:
            figures.failures.append(f"case {number} took {taken:.2f} s")
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(run(given.cases, given.seed))

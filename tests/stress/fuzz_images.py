"""Randomly corrupted requests, each of which must give an image or a 4xx.

`python -m tests.stress.fuzz_images --cases 20000` prints how they ended.
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

from endpoint.uploads import parse_uploads
from model_helpers.image import decode_image
from model_interface.fields import NoFields
from tests.stress import corpus

MAX_CPU_SECONDS = 2.0  # for one case
# Numbers that decoders may not expect.
EXTREMES = (0, 1, 2, 6, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


class LimitedRequest(Request):
    max_content_length = 20_000_000
    max_form_parts = 100
    max_form_memory_size = 500_000


@dataclass
class Figures:
    """How many cases ended how, and with which exceptions of the decoders."""

    outcomes: Counter = field(default_factory=Counter)
    causes: Counter = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)

    def __str__(self) -> str:
        lines = [f"{count:7} {name}" for name, count in self.outcomes.most_common()]
        lines += ["causes of the 4xx:"]
        lines += [f"{count:7} {name}" for name, count in self.causes.most_common()]
        lines += ["slowest: %.2f s of CPU time, case %d" % self.slowest]
        return "\n".join([*lines, f"failures: {len(self.failures)}", *self.failures])


def flip(data: bytearray, chance: random.Random) -> bytearray:
    for _ in range(chance.choice((1, 1, 3, 20))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def overwrite(data: bytearray, chance: random.Random) -> bytearray:
    """Write an extreme number where a length or an offset may be."""
    size = chance.choice("BHI")
    value = chance.choice(EXTREMES) & (256 ** struct.calcsize(size) - 1)
    # Most of the numbers are in headers.
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
    """Replace the EXIF block by a corrupt one."""
    tag = (corpus.EXIF_ORIENTATION, chance.randrange(14), 1, chance.choice(EXTREMES))
    block = bytearray(b"Exif\0\0" + corpus.directory(tag))
    for _ in range(chance.randrange(4)):
        block = chance.choice((flip, overwrite))(block, chance)
    if data.startswith(b"\xff\xd8"):
        return bytearray(corpus.with_segments(corpus.segment(0xE1, block), file=data))
    if data.startswith(b"\x89PNG"):
        return data[:33] + corpus.chunk(b"eXIf", bytes(block[6:])) + data[33:]
    if data.startswith(b"RIFF"):
        return bytearray(corpus.saved(corpus.pattern(), "WEBP", exif=bytes(block)))
    return data


def fix_checksums(data: bytearray, chance: random.Random) -> bytearray:
    """Correct a PNG's checksums, so that the decoder reads what they protect."""
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
    return bytes(fix_checksums(data, chance) if chance.random() < 0.7 else data)


def make_request(chance: random.Random) -> LimitedRequest:
    """Return a request with a corrupt image, sometimes itself malformed too."""
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
    length = str(len(body) if chance.random() < 0.95 else chance.choice(EXTREMES))
    builder = EnvironBuilder(
        method="POST",
        input_stream=io.BytesIO(body),
        content_type=kind,
        headers={"Content-Length": length},
    )
    environ = builder.get_environ()
    environ["wsgi.input_terminated"] = chance.random() < 0.5 or None
    return LimitedRequest(
        {key: value for key, value in environ.items() if value is not None}
    )


def parse_and_decode(sent: LimitedRequest, figures: Figures) -> None:
    try:
        with sent:
            images = [
                decode_image(upload)
                for upload in parse_uploads(sent, "image/*", NoFields)
            ]
        assert {image.mode for image in images} == {"RGB"}
        figures.outcomes["an image"] += 1
    except HTTPException as error:
        figures.outcomes[f"{error.code} {error.name}"] += 1
        if error.__context__:
            figures.causes[f"{error.code} {type(error.__context__).__name__}"] += 1
        if not 400 <= error.code < 500:
            figures.failures.append(traceback.format_exc())


def run(cases: int, seed: int, seconds: float = float("inf")) -> Figures:
    """Try a number of cases, or fewer within a number of seconds."""
    figures = Figures()
    deadline = time.monotonic() + seconds
    for number in range(cases):
        if time.monotonic() > deadline:
            break
        # Each case has its own seed, so that it can be repeated alone.
        sent = make_request(random.Random(f"{seed}/{number}"))
        started = time.thread_time()
        try:
            parse_and_decode(sent, figures)
        except Exception:
            figures.failures.append(f"case {number}: {traceback.format_exc()}")
        taken = time.thread_time() - started
        figures.slowest = max(figures.slowest, (taken, number))
        if taken > MAX_CPU_SECONDS:
            figures.failures.append(f"case {number} took {taken:.2f} s")
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(run(given.cases, given.seed))

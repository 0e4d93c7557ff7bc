"""Small files that would cost seconds and gigabytes, from four clients at once."""

import re
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from tests.stress import corpus
from tests.stress.process import resident_mb, worker_pid
from tests.stress.test_corpus import send
from tests.support.apps import FAKE_MODEL
from tests.support.server import ROOT, Server

SENDERS, SECONDS = 4, 3  # for each file
MAX_MEGABYTES = 2000  # of the worker, at its peak


def saved(mode: str, size: tuple[int, int], kind: str, **options) -> bytes:
    return corpus.saved(Image.new(mode, size), kind, **options)


def large_tile() -> bytes:
    """Return a TIFF of one pixel, in one tile of 16,384 by 16,384."""
    data = zlib.compress(bytes(16_384 * 16_384), 1)
    tile = ((322, 4, 1, 16_384), (323, 4, 1, 16_384), (324, 4, 1, 500))
    head = corpus.tiff_of(1, 1, (259, 3, 1, 8), *tile, (325, 4, 1, len(data)))
    return head.ljust(500, b"\0") + data


def fractions() -> bytes:
    """Return a TIFF with a resolution of a million fractions."""
    file = corpus.tiff_of(1, 1, (282, 5, 1_000_000, 500))
    return file.ljust(500, b"\0") + struct.pack("<II", 7, 3) * 1_000_000


FILES = {
    "run-length encoded BMP": (lambda: corpus.rle_bmp(50_000, 900, b"\1\1\0\0"), 415),
    "long PNG": (lambda: saved("I;16", (1, 40_000_000), "PNG"), 413),
    "large tile": (large_tile, 413),
    "many fractions": (fractions, 422),
    "transparent PNG": (lambda: saved("RGBA", (7000, 7000), "PNG"), 200),
    "lossless WEBP": (
        lambda: saved("RGBA", (5000, 5000), "WEBP", lossless=True, method=0),
        200,
    ),
}


@pytest.fixture(scope="module")
def server():
    with Server("gunicorn", ENDPOINT_MODULE=FAKE_MODEL) as server:
        yield server.wait_for(200)


@pytest.mark.attack(2)
@pytest.mark.parametrize("name", FILES)
def test_small_file_from_four_clients_leaves_room_for_others(server, name):
    make, status = FILES[name]
    bad, good = corpus.as_body(make()), corpus.as_body(corpus.jpeg())
    end, statuses = time.monotonic() + SECONDS, []

    def send_bad() -> None:
        while time.monotonic() < end:
            statuses.append(send(server, bad).status)

    senders = [threading.Thread(target=send_bad) for _ in range(SENDERS)]
    for sender in senders:
        sender.start()
    answers = []
    while time.monotonic() < end:
        answers.append(send(server, good).body)
        assert server.ping() == 200
    for sender in senders:
        sender.join()
    assert set(statuses) == {status}
    assert set(answers) == {b"64 by 48\n"} and len(answers) > 1


@pytest.mark.attack(1)
@pytest.mark.skipif(not (ROOT / "demo").is_dir(), reason="needs the bundled model")
def test_refused_images_do_not_stay_in_memory():
    image = corpus.saved(Image.effect_noise((2000, 2000), 60).convert("RGB"), "JPEG")
    torn = corpus.as_body(image[: len(image) * 3 // 4])
    with Server("gunicorn", ENDPOINT_MODEL="demo") as server:
        worker = worker_pid(server.wait_for(200))
        before = resident_mb(worker)
        with ThreadPoolExecutor(SENDERS) as clients:
            answers = clients.map(lambda _: send(server, torn).status, range(400))
        assert set(answers) == {422}
        assert resident_mb(worker) - before < 0.05 * before


@pytest.mark.attack(2)
def test_peak_memory_stays_small(server):
    status = Path(f"/proc/{worker_pid(server)}/status").read_text()
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", status)
    assert int(peak) / 1024 < MAX_MEGABYTES

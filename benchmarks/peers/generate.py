"""`generate` in a loop without HTTP: the upper limit of every server that uses it.

`python generate.py FOLDER SECONDS BATCH_SIZE...` prints a line of JSON after the first
caption, and one for each batch size with the seconds of each batch and the captions.
"""

import json
import sys
import time
from itertools import cycle
from pathlib import Path

from captioner import Captioner


def run(captioner: Captioner, pixels: list, batch_size: int, seconds: float) -> dict:
    numbers = cycle(range(len(pixels)))
    captioner.captions(pixels[:1] * batch_size)
    captions, times, deadline = [], [], time.monotonic() + seconds
    while not times or time.monotonic() < deadline:
        batch = [next(numbers) for _ in range(batch_size)]
        started = time.monotonic()
        outputs = captioner.captions([pixels[number] for number in batch])
        times.append(time.monotonic() - started)
        captions += zip(batch, outputs)
    return {"batch": batch_size, "times": times, "captions": captions}


if __name__ == "__main__":
    folder, seconds, *batch_sizes = sys.argv[1:]
    captioner = Captioner()
    files = [file.read_bytes() for file in sorted(Path(folder).iterdir())]
    captioner.captions([captioner.pixels(files[0])])
    print(json.dumps({"ready": True}), flush=True)
    pixels = [captioner.pixels(file) for file in files]
    for batch_size in map(int, batch_sizes):
        print(json.dumps(run(captioner, pixels, batch_size, float(seconds))))

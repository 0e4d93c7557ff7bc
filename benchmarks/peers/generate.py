"""`generate` in a bare loop without HTTP: what no server built on it can beat.

`python generate.py PICTURES SECONDS BATCH...` prints a line of JSON when the model has
answered once, and one for each batch size: the seconds of each batch and the captions.
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
    captions, times, until = [], [], time.monotonic() + seconds
    while not times or time.monotonic() < until:
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

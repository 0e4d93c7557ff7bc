"""Scores the small captioner on fresh pictures: `python -m demo.score`.

A caption counts only when it is right word for word. Pictures go the way that an upload
goes: through the image processor and four beams.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path
from random import Random

import torch
from tqdm import tqdm
from transformers import AutoImageProcessor, AutoTokenizer, VisionEncoderDecoderModel

from demo.scenes import draw, sample

FOLDER = Path(__file__).parent / "model"
LENGTH = 16  # tokens, with the one that starts a caption and the one that ends it
BATCH = 50  # pictures
SEEN, HELD_OUT = 0.98, 0.92  # the least that may be right
SIZES = [(224, 224), (320, 240), (320, 214), (384, 216), (240, 320)]


class Captioner:
    """Images to captions, by the plainest use of transformers."""

    def __init__(self, folder: Path = FOLDER, beams: int = 4) -> None:
        load = VisionEncoderDecoderModel.from_pretrained
        self.model = load(folder, dtype=torch.float32).eval()
        self.processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.beams = beams

    @torch.inference_mode()
    def __call__(self, images: list) -> list[str]:
        pixels = self.processor(images=images, return_tensors="pt").pixel_values
        count, patches = len(images), (pixels.shape[-1] // 16) ** 2 + 1
        tokens = self.model.generate(
            pixels,
            max_length=LENGTH,
            num_beams=self.beams,
            # all ones; without them transformers fears that the start is padding
            attention_mask=torch.ones(count, patches, dtype=torch.long),
            decoder_attention_mask=torch.ones(count, 1, dtype=torch.long),
        )
        captions = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [caption.strip() for caption in captions]


def score(captioner: Captioner, count: int, held_out: bool, seed: str) -> list[tuple]:
    """The (right, said) captions of so many fresh pictures."""
    pairs: list[tuple] = []
    for start in tqdm(range(0, count, BATCH), seed, disable=count <= BATCH):
        scenes, images = [], []
        for index in range(start, min(start + BATCH, count)):
            random = Random(f"{seed} {index}")
            scenes.append(sample(random, held_out))
            images.append(draw(scenes[-1], random, random.choice(SIZES)))
        pairs += zip((scene.caption for scene in scenes), captioner(images))
    return pairs


def share(pairs: list[tuple]) -> float:
    """How many of the captions are right, 0..1."""
    return sum(right == said for right, said in pairs) / len(pairs)


def confusions(pairs: list[tuple]) -> Counter:
    """Which words took the place of which."""
    return Counter(
        (one, other)
        for right, said in pairs
        for one, other in zip(right.split(), said.split())
        if one != other and len(right.split()) == len(said.split())
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Score the small captioner.")
    parser.add_argument("--seen", type=int, default=2000, help="pictures")
    parser.add_argument("--held-out", type=int, default=1000, help="pictures")
    parser.add_argument("--beams", type=int, default=4)
    parser.add_argument("--seed", default="score")
    parser.add_argument("--model", type=Path, default=FOLDER)
    options = parser.parse_args()
    captioner = Captioner(options.model, options.beams)
    failed = False
    for name, count, least in [
        ("seen", options.seen, SEEN),
        ("held out", options.held_out, HELD_OUT),
    ]:
        if not count:
            continue
        pairs = score(captioner, count, name == "held out", f"{options.seed}, {name}")
        print(
            f"{name}: {share(pairs):.2%} of {count} right, at least {least:.0%} wanted"
        )
        for (right, said), times in confusions(pairs).most_common(5):
            print(f"    {times} times {said} for {right}")
        failed |= share(pairs) < least
    sys.exit(failed)


if __name__ == "__main__":
    main()

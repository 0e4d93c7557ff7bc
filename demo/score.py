"""New drawn images to the bundled model's accuracy: `python -m demo.score`.

A caption is right only if it matches word for word. Images pass through the image
processor and a search with four beams, as uploads do.
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
LENGTH = 16  # tokens, including the start and end tokens
BATCH = 50  # images
SEEN, HELD_OUT = 0.98, 0.92  # the lowest accuracy that passes
SIZES = [(224, 224), (320, 240), (320, 214), (384, 216), (240, 320)]


class Captioner:
    """Images to captions: transformers as its documentation uses it."""

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
            # Without masks transformers warns that the start token may be padding.
            attention_mask=torch.ones(count, patches, dtype=torch.long),
            decoder_attention_mask=torch.ones(count, 1, dtype=torch.long),
        )
        captions = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [caption.strip() for caption in captions]


def score(captioner: Captioner, count: int, held_out: bool, seed: str) -> list[tuple]:
    """Return the expected and the predicted captions of new images as pairs."""
    pairs: list[tuple] = []
    for start in tqdm(range(0, count, BATCH), seed, disable=count <= BATCH):
        scenes, images = [], []
        for index in range(start, min(start + BATCH, count)):
            random = Random(f"{seed} {index}")
            scenes.append(sample(random, held_out))
            images.append(draw(scenes[-1], random, random.choice(SIZES)))
        pairs += zip((scene.caption for scene in scenes), captioner(images))
    return pairs


def accuracy(pairs: list[tuple]) -> float:
    """Return the share of captions that match, 0 to 1."""
    return sum(expected == predicted for expected, predicted in pairs) / len(pairs)


def confusions(pairs: list[tuple]) -> Counter:
    """Count pairs of an expected word and another one in its place."""
    return Counter(
        (word, other)
        for expected, predicted in pairs
        for word, other in zip(expected.split(), predicted.split())
        if word != other and len(expected.split()) == len(predicted.split())
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the bundled model.")
    parser.add_argument("--seen", type=int, default=2000, help="number of images")
    parser.add_argument("--held-out", type=int, default=1000, help="number of images")
    parser.add_argument("--beams", type=int, default=4)
    parser.add_argument("--seed", default="score")
    parser.add_argument("--model", type=Path, default=FOLDER)
    options = parser.parse_args()
    captioner = Captioner(options.model, options.beams)
    runs = [("seen", options.seen, SEEN), ("held out", options.held_out, HELD_OUT)]
    results = [
        report(captioner, name, count, minimum, f"{options.seed}, {name}")
        for name, count, minimum in runs
        if count
    ]
    sys.exit(not all(results))


def report(captioner, name: str, count: int, minimum: float, seed: str) -> bool:
    """Print the accuracy and the most frequent errors; return whether it suffices."""
    pairs = score(captioner, count, name == "held out", seed)
    measured = accuracy(pairs)
    print(f"{name}: {measured:.2%} of {count} are right; the minimum is {minimum:.0%}")
    for (expected, predicted), times in confusions(pairs).most_common(5):
        print(f"    {predicted} instead of {expected}: {times} times")
    return measured >= minimum


if __name__ == "__main__":
    main()

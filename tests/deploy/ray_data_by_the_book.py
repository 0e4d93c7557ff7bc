"""The same job as the documentation of Ray Data writes it, to compare with ours.

`python -m tests.deploy.ray_data_by_the_book IMAGES CHECKPOINT bfloat16 TARGET` writes
a file for each batch. An image that is broken ends it.
"""

import sys

import ray
import torch
from transformers import AutoImageProcessor, AutoTokenizer, VisionEncoderDecoderModel


class Captioner:
    def __init__(self, checkpoint, dtype):
        self.dtype = getattr(torch, dtype)
        self.processor = AutoImageProcessor.from_pretrained(checkpoint)
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        self.model = VisionEncoderDecoderModel.from_pretrained(checkpoint)
        self.model = self.model.to(self.dtype).eval()

    @torch.inference_mode()
    def __call__(self, batch):
        inputs = self.processor(images=list(batch["image"]), return_tensors="pt")
        pixels = inputs.pixel_values.to(self.dtype)
        tokens = self.model.generate(pixels, max_length=16, num_beams=4)
        captions = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return {"input": batch["path"], "caption": captions}


def main(images, checkpoint, dtype, target):
    dataset = ray.data.read_images(images, include_paths=True, mode="RGB")
    dataset.map_batches(
        Captioner,
        fn_constructor_args=[checkpoint, dtype],
        batch_size=32,
        compute=ray.data.ActorPoolStrategy(size=1),
    ).write_parquet(target)


if __name__ == "__main__":
    main(*sys.argv[1:])

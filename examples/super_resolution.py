"""An image to the same image, twice as wide and twice as high, with Swin2SR."""

import io

import numpy as np
import torch
from PIL import Image
from transformers import Swin2SRForImageSuperResolution
from werkzeug.exceptions import abort

from model_helpers.image import decode_image
from model_helpers.pretrained import load_network
from model_helpers.weights import resolve
from model_interface.files import Upload

CHECKPOINT = "caidas/swin2SR-classical-sr-x2-64"  # on the hub
REVISION = "cee1c923c6a37361c6e5650b65dcf4be821e5d52"
MAX_PIXELS = 512 * 512  # in an image; larger ones need many GB
WINDOW = 8  # pixels


def gradient(side: int) -> Upload:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((side, side)).save(file, "PNG")
    return Upload(file.getvalue(), "image/png")


class Model:
    max_batch = 4
    example = gradient(64)

    def __init__(self, device: str) -> None:
        self.name, self.revision, folder = resolve(CHECKPOINT, REVISION)
        self.network = load_network(Swin2SRForImageSuperResolution, folder, device)

    def decode(self, upload: Upload) -> tuple[np.ndarray, tuple[int, int]]:
        image = decode_image(upload)
        if image.width * image.height > MAX_PIXELS:
            abort(413, f"The image has over {MAX_PIXELS:,} pixels: scale it down.")
        padding = ((0, -image.height % WINDOW), (0, -image.width % WINDOW), (0, 0))
        return np.pad(np.asarray(image), padding, "symmetric"), image.size

    def batch_key(self, input: tuple[np.ndarray, tuple]) -> tuple[int, ...]:
        return input[0].shape  # Only images of one size can be stacked.

    @torch.inference_mode()
    def predict(self, inputs: list[tuple]) -> list[tuple[np.ndarray, tuple]]:
        images, sizes = zip(*inputs)
        pixels = torch.from_numpy(np.stack(images)).to(self.network.device)
        pixels = pixels.movedim(3, 1) / 255  # (images, 3, height, width)
        large = self.network(pixels).reconstruction.clamp(0, 1).movedim(1, 3)
        return list(zip((large * 255).round().byte().cpu().numpy(), sizes))

    def encode(self, output: tuple[np.ndarray, tuple]) -> Image.Image:
        pixels, (width, height) = output
        return Image.fromarray(pixels[: 2 * height, : 2 * width])

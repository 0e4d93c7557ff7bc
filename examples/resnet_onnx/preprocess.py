"""An image to the input of a ResNet, without torch: for converting and for serving."""

import numpy as np
from PIL import Image

SIZE = 224  # pixels on each side of the input
CROP = 224 / 256  # the part of an image's shorter side that is used
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


def preprocess(image: Image.Image) -> np.ndarray:
    """Crop the center of an image and normalize it: (3, 224, 224)."""
    half = CROP * min(image.size) / 2
    x, y = image.width / 2, image.height / 2
    box = (x - half, y - half, x + half, y + half)
    center = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box)
    values = (np.asarray(center, np.float32) / 255 - MEAN) / STD
    return values.transpose(2, 0, 1).astype(np.float32)

"""A picture to what a ResNet sees of it, without torch: for converting and serving."""

import numpy as np
from PIL import Image

SIDE, SHARE = 224, 224 / 256  # pixels; of a picture's shorter side
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


def pixels_of(image: Image.Image) -> np.ndarray:
    """Return the picture's middle, (3, 224, 224), as ResNets are evaluated."""
    reach = SHARE * min(image.size) / 2
    x, y = image.width / 2, image.height / 2
    box = (x - reach, y - reach, x + reach, y + reach)
    middle = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box)
    values = (np.asarray(middle, np.float32) / 255 - MEAN) / DEVIATION
    return values.transpose(2, 0, 1).astype(np.float32)

"""VGG16 and the preparation of its images, the same for training and for serving."""

from collections import OrderedDict

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision.models.vgg import cfgs, make_layers
from torchvision.transforms import functional

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
CROP = 224 / 256  # the part of an image's shorter side that is used


def make_network(classes: int, narrow: int, batch_norm: bool) -> nn.Sequential:
    """Make a VGG16 with torchvision's names; all widths are divided by `narrow`."""
    channels = [each if each == "M" else each // narrow for each in cfgs["D"]]
    flat, hidden = 512 * 7 * 7 // narrow, 4096 // narrow
    classifier = nn.Sequential(
        *(nn.Linear(flat, hidden), nn.ReLU(), nn.Dropout()),
        *(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout()),
        nn.Linear(hidden, classes),
    )
    parts = {"features": make_layers(channels, batch_norm)}
    parts |= {"avgpool": nn.AdaptiveAvgPool2d(7), "flatten": nn.Flatten()}
    return nn.Sequential(OrderedDict(parts, classifier=classifier))


def center_crop(image: Image.Image, size: int) -> np.ndarray:
    """Crop the center of an image and scale it: (size, size, 3)."""
    half = CROP * min(image.size) / 2
    x, y = image.width / 2, image.height / 2
    box = (x - half, y - half, x + half, y + half)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box))


def normalize(images: list[np.ndarray]) -> torch.Tensor:
    """Turn images (size, size, 3) into a batch (images, 3, size, size)."""
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return functional.normalize(pixels / 255, MEAN, STD)

"""VGG16 and what it sees of a picture: the same for training, test and server."""

from collections import OrderedDict

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision.models.vgg import cfgs, make_layers
from torchvision.transforms import functional

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
SHARE = 224 / 256  # of a picture's shorter side


def make_network(classes: int, narrow: int, batch_norm: bool) -> nn.Sequential:
    """VGG16 by torchvision's names, each of its layers `narrow` times narrower."""
    layers = [each if each == "M" else each // narrow for each in cfgs["D"]]
    flat, wide = 512 * 7 * 7 // narrow, 4096 // narrow
    steps = [nn.Linear(flat, wide), nn.ReLU(), nn.Dropout(), nn.Linear(wide, wide)]
    steps += [nn.ReLU(), nn.Dropout(), nn.Linear(wide, classes)]
    parts = {"features": make_layers(layers, batch_norm)}
    parts |= {"avgpool": nn.AdaptiveAvgPool2d(7), "flatten": nn.Flatten()}
    return nn.Sequential(OrderedDict(parts, classifier=nn.Sequential(*steps)))


def framed(image: Image.Image, side: int) -> np.ndarray:
    """Return the middle of a picture, (side, side, 3), as test and server see it."""
    reach = SHARE * min(image.size) / 2
    x, y = image.width / 2, image.height / 2
    box = (x - reach, y - reach, x + reach, y + reach)
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box))


def normalised(images: list[np.ndarray]) -> torch.Tensor:
    """Stack pictures to pixels, (images, 3, side, side)."""
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return functional.normalize(pixels / 255, MEAN, DEVIATION)

"""A ResNet without torch: converted by convert.py, served by model.py.

    python -m examples.resnet_onnx.convert --weights resnet18.pth --output model.onnx \\
        --dynamic-batch --test-image french_bulldog.jpg
    ENDPOINT_MODULE=examples.resnet_onnx ENDPOINT_MODEL=model.onnx gunicorn
"""

from examples.resnet_onnx.model import Model

__all__ = ["Model"]

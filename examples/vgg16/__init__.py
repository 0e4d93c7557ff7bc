"""Your own classes from a folder of pictures: trained by train.py, served by model.py.

python -m examples.vgg16.train DATA --output pets
ENDPOINT_APP=examples.vgg16 ENDPOINT_MODEL=./pets gunicorn
"""

from examples.vgg16.model import Model

__all__ = ["Model"]

"""A model's example, run through its methods before the model counts as ready.

tests/tools/test_check.py compares what is refused with what `flask check` refuses.
"""

import numpy as np
import pytest
from PIL import Image
from werkzeug.exceptions import BadRequest

from endpoint.files import File
from endpoint.model_info import ModelInfo, WrongModel
from endpoint.uploads import Upload
from endpoint.warm_up import warm_up

EXAMPLE = Upload(b"example", "text/plain")


class Model:
    def __init__(self, answer=None):
        self.answer = {"length": 7} if answer is None else answer

    def decode(self, upload):
        return upload.data

    def predict(self, inputs):
        return [len(data) for data in inputs]

    def encode(self, output):
        return self.answer


IMAGE = Image.new("RGB", (2, 2))
SMALL = np.zeros(2)


@pytest.mark.parametrize(
    "answer", [{"a": float("nan")}, IMAGE, [IMAGE, IMAGE], File(b"RIFF")]
)
def test_output_of_a_good_model_is_returned(answer):
    assert warm_up(Model(answer), ModelInfo(), EXAMPLE) == 7


@pytest.mark.parametrize("answer", [7, "text", [7], b"RIFF", {"a": b"RIFF"}, SMALL])
def test_answer_that_cannot_be_sent_is_refused(answer):
    with pytest.raises(WrongModel, match="encode returned"):
        warm_up(Model(answer), ModelInfo(), EXAMPLE)


def test_example_that_decode_refuses_is_refused():
    class Strict(Model):
        def decode(self, upload):
            raise BadRequest("Too short.")

    with pytest.raises(WrongModel, match="^decode refuses the example .*Too short."):
        warm_up(Strict(), ModelInfo(), EXAMPLE)


def test_key_and_drawing_are_checked():
    for info in (ModelInfo(batch_key=lambda input: []), ModelInfo(draw=str)):
        with pytest.raises(WrongModel, match="(batch_key|draw) returned a (list|str):"):
            warm_up(Model(), info, EXAMPLE)

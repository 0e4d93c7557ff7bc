"""A model's example, run through its methods before the model counts as ready.

tests/tools/test_check.py compares what is refused with what `flask check` refuses.
"""

import pytest
from PIL import Image
from werkzeug.exceptions import BadRequest, abort

from model_interface.files import File, Upload
from model_interface.model_info import ModelInfo, WrongModel
from model_interface.warm_up import warm_up

EXAMPLE = Upload(b"example", "text/plain")
TEXT = ModelInfo(accepts="text/plain")


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


@pytest.mark.parametrize("answer", [{"a": 0.5}, IMAGE, [IMAGE, IMAGE], File(b"RIFF")])
def test_output_of_a_good_model_is_returned(answer):
    assert warm_up(Model(answer), TEXT, EXAMPLE) == 7


def test_answer_that_cannot_be_sent_is_refused():
    with pytest.raises(WrongModel, match="encode returned an empty dict"):
        warm_up(Model({}), TEXT, EXAMPLE)


def test_example_that_decode_refuses_is_refused():
    class Strict(Model):
        def decode(self, upload):
            raise BadRequest("Too short.")

    with pytest.raises(WrongModel, match="^decode refuses the example .*Too short."):
        warm_up(Strict(), TEXT, EXAMPLE)


def test_key_and_drawing_are_checked():
    for own in ({"batch_key": lambda input: []}, {"draw": str}):
        info = ModelInfo(accepts="text/plain", **own)
        with pytest.raises(WrongModel, match="(batch_key|draw) returned a (list|str):"):
            warm_up(Model(), info, EXAMPLE)


@pytest.mark.parametrize("accepts", ["image/*", "audio/*"])
def test_invalid_file_must_be_refused(accepts):
    class Careless(Model):
        def decode(self, upload):
            return {b"example": b"input"}[upload.data]

    class Strict(Model):
        def decode(self, upload):
            return upload.data if upload.data == b"example" else abort(415)

    info = ModelInfo(accepts=accepts)
    assert warm_up(Strict(), info, EXAMPLE) == 7
    with pytest.raises(WrongModel, match="^decode accepts an invalid file: "):
        warm_up(Model(), info, EXAMPLE)
    with pytest.raises(WrongModel, match="^decode fails with KeyError for an invalid"):
        warm_up(Careless(), info, EXAMPLE)


@pytest.mark.parametrize("max_batch", [1, 2, 8])
def test_example_is_run_in_a_batch_that_the_model_allows(max_batch):
    class OnlyOne(Model):
        def predict(self, inputs):
            assert len(inputs) <= max_batch
            return super().predict(inputs[:1])

    info = ModelInfo(accepts="text/plain", max_batch=max_batch)
    if max_batch == 1:
        assert warm_up(OnlyOne(), info, EXAMPLE) == 7
    else:
        with pytest.raises(WrongModel, match="1 outputs for 2 inputs"):
            warm_up(OnlyOne(), info, EXAMPLE)

"""A model's example, run through its methods before the model counts as ready.

tests/tools/test_check.py compares what is refused with what `flask check` refuses.
"""

import pytest
from PIL import Image
from pydantic import BaseModel
from werkzeug.exceptions import BadRequest, abort

from model_interface.errors import ModelError
from model_interface.files import File, Upload
from model_interface.model_info import ModelInfo, WrongModel
from model_interface.warm_up import run_examples, warm_up

EXAMPLE = Upload(b"example", "text/plain")
TEXT = ModelInfo(accepts="text/plain")


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Let a slow machine run the larger batch, too."""
    monkeypatch.setattr("model_interface.batch_check.LARGE_BATCH_SECONDS", 1000)


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


class Recorded(Model):
    """A model of texts that records the batches that it was given."""

    def __init__(self):
        self.batches = []

    def predict(self, inputs):
        self.batches.append(list(inputs))
        return [len(data) for data in inputs]

    def encode(self, output):
        return {"length": output}


class Odd:
    __hash__ = object.__hash__

    def __eq__(self, other):
        raise ValueError


@pytest.mark.parametrize("key", [[], float("nan"), Odd()])
def test_key_must_be_comparable(key):
    info = ModelInfo(accepts="text/plain", batch_key=lambda input: key)
    with pytest.raises(WrongModel, match="batch_key returned a .*: it must return a"):
        warm_up(Model(), info, EXAMPLE)


def test_drawing_is_checked():
    with pytest.raises(WrongModel, match="draw returned a str: it must return a PIL"):
        warm_up(Model(), ModelInfo(accepts="text/plain", draw=str), EXAMPLE)


class Needed(BaseModel):
    length: int


def test_first_example_is_run_for_each_route():
    class Routed(Recorded):
        def decode(self, upload):
            return {"": upload.data, "top": b"top"}[upload.route]

    def run(routes):
        examples = [EXAMPLE, Upload(b"second", "text/plain")]
        info = ModelInfo(accepts="text/plain", example=examples, routes=routes)
        model = Routed()
        assert run_examples(model, info) == 7
        return model.batches

    assert run(["top"])[-1] == [b"top"]
    assert [b"second"] in run([])
    assert [b"top"] not in run({"top": Needed})  # No field is sent.
    with pytest.raises(ModelError, match="KeyError: 'bottom'"):
        run(["bottom"])


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


def warnings_of(model, caplog, **attributes):
    assert warm_up(model, ModelInfo(accepts="text/plain", **attributes), EXAMPLE) == 7
    records = [each for each in caplog.records if each.levelname == "WARNING"]
    return [record.getMessage() for record in records]


def test_example_is_run_alone_then_with_another_then_in_a_larger_batch(caplog):
    model = Recorded()
    assert warnings_of(model, caplog, max_batch=1000) == []
    one, another = b"example", b"example example"
    large = [one, another, *[one] * 30]
    assert model.batches == [[one], [another], [one, another], large]


def test_inputs_with_different_keys_are_not_in_one_batch(caplog):
    model = Recorded()
    assert warnings_of(model, caplog, max_batch=2, batch_key=len) == []
    assert model.batches[2] == [b"example"] * 2


def test_changed_example_may_be_refused(caplog):
    class Strict(Recorded):
        def decode(self, upload):
            return upload.data if upload.data == b"example" else abort(422)

    model = Strict()
    assert warnings_of(model, caplog, max_batch=2) == []
    assert model.batches[2] == [b"example"] * 2


def test_decode_that_fails_for_a_changed_example_is_a_warning(caplog):
    class Careless(Recorded):
        def decode(self, upload):
            return {b"example": b"example"}[upload.data]

    [line] = warnings_of(Careless(), caplog)
    assert line.startswith("decode fails for the example changed: KeyError(")


def test_slow_model_is_not_run_in_a_larger_batch(caplog, monkeypatch):
    monkeypatch.setattr("model_interface.batch_check.LARGE_BATCH_SECONDS", 0)
    model = Recorded()
    assert warnings_of(model, caplog) == []
    assert [len(batch) for batch in model.batches] == [1, 1, 2]


class Random(Recorded):
    """A model that answers one of two inputs with the answer to the other, or not."""

    def predict(self, inputs):
        self.batches.append(inputs)
        lengths = [len(data) for data in inputs]
        return lengths[:: (1, -1)[len(self.batches) % 5 == 3]]


class Clock(Recorded):
    """A model whose answers hold a time."""

    def encode(self, output):
        self.batches.append([])
        return {"number": len(self.batches)}


@pytest.mark.parametrize("model", [Random(), Clock()])
def test_random_answers_are_not_compared(caplog, model):
    warm_up(model, TEXT, EXAMPLE)
    assert [each for each in caplog.records if each.levelname == "WARNING"] == []


class OneBuffer(Recorded):
    """A model that returns the same object for each input of decode."""

    buffer = bytearray()

    def decode(self, upload):
        self.buffer[:] = upload.data
        return self.buffer


class OneOutput(Recorded):
    """A model that returns the same list from each call of predict."""

    def predict(self, inputs):
        self.outputs = getattr(self, "outputs", [])
        self.outputs[:] = [[len(data)] for data in inputs]
        self.first = getattr(self, "first", self.outputs[0])
        self.first[:] = self.outputs[0]
        return [self.first, *self.outputs[1:]]


class OneSize(Recorded):
    """A model whose encode reads what decode has stored for another input."""

    def decode(self, upload):
        self.size = len(upload.data)
        return upload.data

    def encode(self, output):
        return {"length": self.size}


@pytest.mark.parametrize("model", [OneBuffer(), OneOutput(), OneSize()])
def test_answers_that_change_later_are_refused(model):
    with pytest.raises(WrongModel, match="An answer changes once decode and predict"):
        warm_up(model, TEXT, EXAMPLE)


def test_inputs_that_predict_changes_are_a_warning(caplog):
    class Changing(Recorded):
        def decode(self, upload):
            return [*upload.data]

        def predict(self, inputs):
            lengths = [len(data) for data in inputs]
            for data in inputs:
                data.append(0)
            return lengths

    [line] = warnings_of(Changing(), caplog)
    assert line.startswith("predict changes its inputs")


def test_answer_that_depends_on_its_batch_is_a_warning(caplog):
    class Padded(Recorded):
        def predict(self, inputs):
            return [max(map(len, inputs))] * len(inputs)

    [line] = warnings_of(Padded(), caplog)
    assert line.startswith("An answer depends on the other inputs in its batch: alone")


def test_answers_in_the_wrong_order_are_refused():
    class Reversed(Recorded):
        def predict(self, inputs):
            return [len(data) for data in reversed(inputs)]

    with pytest.raises(WrongModel, match="wrong order: output 1 of 2 belongs to"):
        warm_up(Reversed(), TEXT, EXAMPLE)


@pytest.mark.parametrize("is_reversed", [False, True])
def test_sorted_outputs_are_refused(is_reversed):
    class Sorted(Recorded):
        def predict(self, inputs):
            return sorted(map(len, inputs), reverse=is_reversed)

    with pytest.raises(WrongModel, match="outputs in the wrong order"):
        warm_up(Sorted(), TEXT, EXAMPLE)


def test_encode_may_get_the_same_output_again():
    class Popping(Recorded):
        def predict(self, inputs):
            return [[len(data)] for data in inputs]

        def encode(self, output):
            return {"length": output.pop()}

    with pytest.raises(WrongModel, match="same output again: IndexError"):
        warm_up(Popping(), TEXT, EXAMPLE)


def test_larger_batch_that_fails_is_a_warning(caplog):
    class Small(Recorded):
        def predict(self, inputs):
            if len(inputs) > 4:
                raise MemoryError("out of memory")
            return super().predict(inputs)

    assert warnings_of(Small(), caplog, max_batch=4) == []
    [line] = warnings_of(Small(), caplog, max_batch=8)
    assert line == "A batch of 8 fails: out of memory"


def test_model_that_a_larger_batch_breaks_is_refused():
    class Broken(Recorded):
        def predict(self, inputs):
            if max(map(len, [*self.batches, inputs])) > 4:
                self.batches.append(inputs)
                raise RuntimeError("CUDA error")
            return super().predict(inputs)

    with pytest.raises(RuntimeError, match="CUDA error"):
        warm_up(Broken(), TEXT, EXAMPLE)


def test_answer_of_the_first_input_for_all_is_a_warning(caplog):
    class First(Recorded):
        def predict(self, inputs):
            return [len(inputs[0])] * len(inputs)

    [line] = warnings_of(First(), caplog)
    assert line.endswith('alone {"length": 15}, in a batch of 2 {"length": 7}.')


def test_invalid_file_is_no_error_of_the_server():
    class Careless(Model):
        def decode(self, upload):
            return upload.data if upload.data == b"example" else abort(500)

    with pytest.raises(WrongModel, match="^decode answers an invalid file with 500: "):
        warm_up(Careless(), ModelInfo(accepts="image/*"), EXAMPLE)

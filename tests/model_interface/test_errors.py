"""Errors of a model file, in a sentence with its line."""

import pytest

from model_interface.errors import ModelError, explained
from model_interface.loading import load_model
from model_interface.model_info import WrongModel

SOURCE = """
class Model:
    def __init__(self, device):
        self.fail()

    def fail(self):
        {}

    decode = predict = encode = fail
"""


def sentence(path):
    with pytest.raises(ModelError) as failure:
        load_model(path.stem, "cpu")
    assert repr(failure.value) == str(failure.value)
    return str(failure.value)


def test_method_line_and_first_line_of_the_reason_are_named(model_file):
    path = model_file(SOURCE.format("raise ValueError('first\\nsecond')"))
    line = "raise ValueError('first\\nsecond')"
    assert sentence(path) == (
        f"Model(device) fails at line 7 of {path.name}, {line}: ValueError: first"
    )


def test_syntax_is_an_error_of_the_import(model_file):
    path = model_file("class Model")
    start = f"Importing fails at line 1 of {path.name}, class Model: SyntaxError: "
    assert sentence(path).startswith(start)


@pytest.mark.parametrize("error", [WrongModel("A rule."), SystemExit("Gone.")])
def test_sentence_stays_as_it_is(error):
    with pytest.raises(type(error), match=str(error)):
        with explained("json"):
            raise error


def test_error_outside_of_the_file_has_no_line():
    with pytest.raises(ModelError, match="^The model fails: KeyError: 5$"):
        with explained("json"):
            raise KeyError(5)

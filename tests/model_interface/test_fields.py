"""Fields of every kind, from strings and from JSON, and how wrong ones are refused."""

from datetime import date
from enum import Enum
from typing import Literal

import pytest
from pydantic import BaseModel, Field, SecretStr, field_validator

from model_interface.fields import NoFields, Values, parse_fields, schemas
from tests.support.uploads import refusal


class Tone(Enum):
    KIND, PLAIN = "kind", "plain"


class Part(BaseModel):
    size: int


class Kinds(BaseModel):
    prompt: str = Field("Describe it.", min_length=1, max_length=20)
    count: int = Field(3, ge=1, le=9)
    share: float = Field(0.5, gt=0, lt=1)
    scale: float = 1.0
    tone: Tone = Tone.KIND
    size: Literal["small", "large"] = "small"
    choice: Literal[1, 2] | None = None
    is_loud: bool = False
    labels: list[str] = Field(["a dog"], max_length=3)
    sizes: list[int] = []
    weights: list[float] = []
    token: SecretStr | None = None
    limit: int | None = None
    part: Part | None = None
    words: list[str] = Field(default_factory=lambda: ["a"])
    pair: tuple[float, float] = (0, 0)
    choices: list[Literal[1, 2]] = []
    only: Literal[2] = 2
    maybe: bool | None = None
    note: str = ""
    day: date | None = None
    twice: int = Field(default_factory=lambda fields: 2 * fields["count"])

    @field_validator("prompt")
    @classmethod
    def ends_with_a_dot(cls, prompt: str) -> str:
        if not prompt.endswith("."):
            raise ValueError("must end with a dot")
        return prompt


class Aliased(BaseModel):
    mask: list[str] = Field(default_factory=list, alias="Mask")


EMPTY = {"size": "small", "tone": Tone.KIND, "only": 2, "day": None, "pair": (0, 0)}


class Needed(BaseModel):
    prompt: str


def parse(**sent: object) -> BaseModel:
    """Parse values; a list stands for a repeated one."""
    return parse_fields(Kinds, Values(sent))


@pytest.mark.parametrize(
    "name, sent, value",
    [
        ("prompt", "A cat.", "A cat."),
        ("labels", "None", ["None"]),
        ("note", "None", "None"),
        ("count", "9", 9),
        ("count", 9, 9),
        ("count", "", 3),
        ("count", ["1", "2"], 2),
        ("share", "0.25", 0.25),
        ("tone", "plain", Tone.PLAIN),
        ("size", "large", "large"),
        ("choice", "2", 2),
        ("choice", 1, 1),
        ("choice", "", None),
        *(("is_loud", yes, True) for yes in ("true", "on", "1", "yes", True)),
        ("is_loud", ["false", "true"], True),
        ("is_loud", "false", False),
        ("labels", "a cat, a dog", ["a cat", "a dog"]),
        ("labels", ["a, b", "c"], ["a, b", "c"]),
        ("labels", [["a, b"]], ["a, b"]),
        ("sizes", "1,2", [1, 2]),
        ("token", "", None),
        ("limit", None, None),
        ("limit", "5", 5),
        ("part", {"size": 5}, Part(size=5)),
        ("pair", "1,2", (1, 2)),
        ("choices", "1,2", [1, 2]),
        ("choices", [[1, 2]], [1, 2]),
        ("only", "2", 2),
        ("maybe", "true", True),
        ("twice", "", 6),
        ("day", "2026-11-30", date(2026, 11, 30)),
        # The page sends inputs that are left empty.
        *((name, "", default) for name, default in EMPTY.items()),
    ],
)
def test_value_is_converted_to_the_type_of_its_field(name, sent, value):
    assert getattr(parse(**{name: sent}), name) == value


def test_secret_is_not_shown():
    fields = parse(token="12345")
    assert fields.token.get_secret_value() == "12345" and "12345" not in repr(fields)


@pytest.mark.parametrize(
    "name, sent, sentence",
    [
        ("count", "many", "count should be a valid integer, unable to parse"),
        ("count", "10", "count should be less than or equal to 9."),
        ("count", None, "count should be a valid integer."),
        ("count", True, "count should be a valid integer."),
        ("is_loud", 1, "is_loud should be a valid boolean."),
        ("maybe", 1, "maybe should be a valid boolean"),
        ("pair", "1,nan", "pair should be a finite number."),
        ("choices", "1,3", "choices.1 should be 1 or 2."),
        ("count", 2.5, "count should be a valid integer, got a number with"),
        ("share", "1", "share should be less than 1."),
        ("scale", "nan", "scale should be a finite number."),
        ("scale", float("inf"), "scale should be a finite number."),
        ("weights", "1,nan", "weights should be a finite number."),
        ("choice", "3", "choice should be 1 or 2."),
        ("tone", "rude", "tone should be 'kind' or 'plain'."),
        ("size", "huge", "size should be 'small' or 'large'."),
        ("is_loud", "maybe", "is_loud should be a valid boolean"),
        ("prompt", "", "prompt: String should have at least 1 character."),
        ("prompt", "A cat", "prompt must end with a dot."),
        ("prompt", "x" * 21, "prompt: String should have at most 20 characters."),
        ("prompt", 5, "prompt should be a valid string."),
        ("labels", "a,b,c,d", "labels: List should have at most 3 items"),
        ("labels", [[1]], "labels.0 should be a valid string."),
        ("part", {"size": "x"}, "part.size should be a valid integer"),
        ("colour", "red", "The field colour is unknown to this model: its fields are"),
        ("<b>", "red", "A field is unknown to this model: its fields are prompt,"),
    ],
)
def test_wrong_value_is_refused_with_what_is_allowed(name, sent, sentence):
    status, detail = refusal(parse, **{name: sent})
    assert (status, detail[: len(sentence)]) == (400, sentence)


def test_field_without_a_default_has_to_be_sent():
    assert "default" not in schemas(Needed)["prompt"]
    assert refusal(parse_fields, Needed, Values()) == (400, "prompt: Field required.")


def test_part_of_a_form_without_a_name_is_refused():
    status, sentence = refusal(parse_fields, NoFields, Values({None: "1"}))
    assert (status, sentence) == (400, "A field is unknown to this model: it has none.")


def test_model_without_fields_takes_none():
    assert parse_fields(NoFields, Values()) == NoFields()
    assert parse_fields(NoFields, Values({"a": ""})) == NoFields()
    status, sentence = refusal(parse_fields, NoFields, Values({"a": "1"}))
    assert (status, sentence) == (
        400,
        "The field a is unknown to this model: it has none.",
    )


def test_schemas_have_no_references():
    found = schemas(Kinds)
    assert found.keys() == Kinds.model_fields.keys() and "$ref" not in str(found)
    assert found["tone"]["enum"] == ["kind", "plain"]
    assert found["tone"]["default"] == "kind" and found["words"]["default"] == ["a"]
    assert found["twice"]["default"] is None  # It is made of another field.
    assert schemas(Aliased)["Mask"]["type"] == "array"
    assert found["part"]["anyOf"][0]["properties"]["size"]["type"] == "integer"

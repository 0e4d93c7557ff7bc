"""The inputs that `flask check` sends: changed examples, and the limits of fields."""

from typing import Literal

import pytest
from pydantic import BaseModel, Field, SecretStr, field_validator

from model_interface.fields import schemas
from model_interface.model_info import ModelInfo
from tools.check_inputs import find_variants, limits


class Fields(BaseModel):
    count: int = Field(3, ge=1, le=9)
    share: float | None = Field(None, gt=0, lt=1)
    tone: Literal["kind", "plain"] = "kind"
    is_loud: bool = False
    prompt: str = Field("Describe it.", max_length=20)
    token: SecretStr | None = None
    even: int = Field(2, ge=1, le=4)

    @field_validator("even")
    @classmethod
    def is_even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("must be even")
        return value


class Top(BaseModel):
    top_k: int = Field(1, le=5)


def test_limits_of_each_kind_of_field_are_tried():
    assert {name: limits(schema) for name, schema in schemas(Fields).items()} == {
        "count": [1, 9],
        "share": [],
        "tone": ["kind", "plain"],
        "is_loud": [False, True],
        "prompt": ["Describe it. Describ"],
        "token": [],
        "even": [1, 4],
    }


def test_variants_are_examples_changes_routes_and_fields():
    info = ModelInfo(name="m", Fields=Fields, routes={"top": Top})
    variants = list(find_variants(info))
    names = [variant.name for variant in variants]
    assert names[:3] == ["the example", "the example changed", "the example changed"]
    assert "even=1" not in names and "even=4" in names  # a rule of the class itself
    assert names[-2:] == ["the route top", "top_k=5"]
    assert (variants[-1].upload.route, variants[-1].upload.fields) == (
        "top",
        Top(top_k=5),
    )
    assert [each.may_be_refused for each in variants[:4]] == [False, True, True, False]


def test_model_for_audio_needs_an_example():
    with pytest.raises(LookupError):
        list(find_variants(ModelInfo(name="m", accepts="audio/*")))

"""What `flask check` sends to a model: its examples, changed, and with other fields."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from model_interface.batch_check import changed_examples
from model_interface.fields import Schema, schemas, types_of
from model_interface.files import Upload
from model_interface.model_info import ModelInfo

DEFAULTS = {
    "image/*": lambda: Upload.from_file("french_bulldog.jpg"),
    "text/plain": lambda: Upload(b"It is a sunny day.", "text/plain"),
}


@dataclass(frozen=True)
class Variant:
    """An upload, and what it is in words."""

    name: str
    upload: Upload
    may_be_refused: bool = False


def find_variants(info: ModelInfo) -> Iterator[Variant]:
    """Yield the examples, changed copies of the first one, and other fields with it.

    Raises LookupError for a model that has no example and needs one.
    """
    examples = info.example or [info.check_example(DEFAULTS[info.accepts]())]
    for example in examples:
        yield Variant("the example", example)
    first = examples[0]
    for changed in changed_examples(first, info.accepts):
        yield Variant("the example changed", changed, True)
    for route in ("", *info.routes):
        yield from with_fields(first, route, info.fields_of(route))


def with_fields(
    example: Upload, route: str, fields: type[BaseModel]
) -> Iterator[Variant]:
    """Yield an example for a route, and for each value that its fields should allow."""
    is_own = isinstance(example.fields, fields)
    # Not dict(fields), because a field may be named keys.
    own = {name: value for name, value in example.fields} if is_own else {}
    sent = [("", None)] if route else []
    sent += [(n, value) for n, s in schemas(fields).items() for value in limits(s)]
    for name, value in sent:
        try:
            checked = fields.model_validate(own | ({name: value} if name else {}))
        except ValidationError:
            continue  # The class Fields refuses it by a rule of its own.
        shown = f"{name}={value!r}" if name else f"the route {route}"
        yield Variant(shown, replace(example, fields=checked, route=route))


def limits(schema: Schema) -> list[Any]:
    """Return the smallest, the largest and other values that a schema allows."""
    own = schema.get("anyOf", [schema])[0]
    if "enum" in own:
        return list(own["enum"])
    if "boolean" in types_of(own):
        return [False, True]
    values = [own[key] for key in ("minimum", "maximum") if key in own]
    if isinstance(text := schema.get("default"), str) and "format" not in own:
        values.append(f"{text} {text}"[: own.get("maxLength")])
    return values

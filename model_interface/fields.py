"""The values that are sent beside a file, checked by the model's class Fields."""

import math
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import abort

Schema = dict[str, Any]
Values = MultiDict[str, Any]  # strings, what JSON held, and uploads


class NoFields(BaseModel):
    """The fields of a model that has none."""


@cache
def schemas(fields: type[BaseModel]) -> Mapping[str, Schema]:
    """Return the JSON schema of each field, without references to other parts.

    Only a field that has to be sent has no default.
    """
    whole = fields.model_json_schema()
    # Without properties, the whole is a reference: the class contains itself.
    found = _inline(whole.get("properties", whole), whole.get("$defs", {}))
    for name, field in fields.model_fields.items():
        if field.default_factory and name in found:  # Pydantic leaves it out.
            # A default that is made of other fields is not known before these.
            is_unknown = field.default_factory_takes_validated_data
            default = (
                None if is_unknown else field.get_default(call_default_factory=True)
            )
            found[name]["default"] = to_jsonable_python(default)
    return found


def _inline(part: Any, definitions: dict[str, Any]) -> Any:
    """Replace the references in a part of a schema by what they refer to."""
    if isinstance(part, list):
        return [_inline(each, definitions) for each in part]
    if not isinstance(part, dict):
        return part
    reference = part.get("$ref", "").rpartition("/")[2]
    part = definitions.get(reference, {}) | part if reference else part
    return {key: _inline(part[key], definitions) for key in part if key != "$ref"}


def alternatives(schema: Schema) -> list[Schema]:
    return schema.get("anyOf", [schema])


def types_of(schema: Schema) -> set[str]:
    """Return the JSON types that a schema allows."""
    return {str(each.get("type")) for each in alternatives(schema)}


def parse_fields(fields: type[BaseModel], values: Values) -> BaseModel:
    """Return the checked fields, or raise a 400 that says what is allowed."""
    known = schemas(fields)
    given = {}
    for name, sent in values.lists():
        if sent[-1] == "" and not _may_be_empty(known.get(name, {})):
            continue  # The page sends inputs that are left empty.
        if name not in known:
            is_name = re.fullmatch(r"\w{1,40}", name or "")  # Errors never echo HTML.
            shown = f"The field {name}" if is_name else "A field"
            others = f"its fields are {', '.join(known)}" if known else "it has none"
            abort(400, f"{shown} is unknown to this model: {others}.")
        given[name] = _combine(sent, known[name])
    try:
        checked = fields.model_validate(given)
    except ValidationError as invalid:
        abort(400, explain(invalid))
    for name in given:
        if not _is_finite(getattr(checked, name, None)):
            abort(400, f"{name} should be a finite number.")
    return checked


def _may_be_empty(schema: Schema) -> bool:
    """Return whether an empty string may be a value, and not an empty input."""
    strings = [each for each in alternatives(schema) if each.get("type") == "string"]
    is_free = any(not each.keys() & {"enum", "const", "format"} for each in strings)
    return is_free and "null" not in types_of(schema)


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    values = value.values() if isinstance(value, dict) else value
    return not isinstance(value, dict | list | tuple) or all(map(_is_finite, values))


def _combine(sent: list[Any], schema: Schema) -> Any:
    """Return one value for all that were sent under a name: the last, or a list."""
    last, types = sent[-1], types_of(schema)
    if "array" in types and not isinstance(last, list):
        if len(sent) == 1 and isinstance(last, str):
            sent = [part.strip() for part in last.split(",")]
        items = [each.get("items", {}) for each in alternatives(schema)]
        return [_choose(each, {"anyOf": items}) for each in sent]
    # Pydantic would take true for the number 1, and 1 for true, but it refuses a list.
    is_boolean = types - {"null"} == {"boolean"}
    is_number_for_boolean = type(last) in (int, float) and is_boolean
    is_boolean_for_other = isinstance(last, bool) and not types & {"boolean", "None"}
    if is_number_for_boolean or is_boolean_for_other:
        return [last]
    return _choose(last, schema)


def _choose(sent: Any, schema: Schema) -> Any:
    """Return 2 for the string "2" if the schema is a choice of numbers with it."""
    choices: list[Any] = []
    for each in alternatives(schema):
        choices += each.get("enum", [])
        choices += [each["const"]] if "const" in each else []
    return next((choice for choice in choices if str(choice) == sent), sent)


def explain(invalid: ValidationError) -> str:
    """Return the first mistake as a sentence that begins with the field's name."""
    error = invalid.errors()[0]
    name = ".".join(map(str, error["loc"]))
    message = re.sub("^(Input|Value error,) ", "", error["msg"])
    is_predicate = re.match("(is|must|should) ", message)
    return f"{name}{' ' if is_predicate else ': ' if name else ''}{message}."

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

    def inline(part: Any) -> Any:
        if isinstance(part, list):
            return [inline(each) for each in part]
        if not isinstance(part, dict):
            return part
        reference = part.get("$ref", "").rpartition("/")[2]
        part = whole["$defs"].get(reference, {}) | part if reference else part
        return {key: inline(part[key]) for key in part if key != "$ref"}

    found = inline(whole.get("properties", {}))
    for name, field in fields.model_fields.items():
        if field.default_factory and name in found:  # Pydantic leaves it out.
            default = field.get_default(call_default_factory=True, validated_data={})
            found[name]["default"] = to_jsonable_python(default)
    return found


def types_of(schema: Schema) -> set[str]:
    """Return the JSON types that a schema allows."""
    return {str(each.get("type")) for each in schema.get("anyOf", [schema])}


def parse_fields(fields: type[BaseModel], values: Values) -> BaseModel:
    """Return the checked fields, or raise a 400 that says what is allowed."""
    known = schemas(fields)
    given = {}
    for name, sent in values.lists():
        types = types_of(known.get(name, {}))
        if sent[-1] == "" and ("string" not in types or "null" in types):
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
    for name, value in checked:
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, float) and not math.isfinite(each):
                abort(400, f"{name} should be a finite number.")
    return checked


def _combine(sent: list[Any], schema: Schema) -> Any:
    """Return one value for all that were sent under a name: the last, or a list."""
    last, types = sent[-1], types_of(schema)
    if "array" in types and not isinstance(last, list):
        if len(sent) == 1 and isinstance(last, str):
            sent = [part.strip() for part in last.split(",")]
        return sent
    # Pydantic would take true for the number 1, and 1 for true, but it refuses a list.
    is_number_for_boolean = type(last) in (int, float) and types == {"boolean"}
    is_boolean_for_other = isinstance(last, bool) and not types & {"boolean", "None"}
    if is_number_for_boolean or is_boolean_for_other:
        return [last]
    # It would not take the string "2" for a choice of 1 and 2.
    choices = [
        each for part in schema.get("anyOf", [schema]) for each in part.get("enum", ())
    ]
    return next((each for each in choices if str(each) == last), last)


def explain(invalid: ValidationError) -> str:
    """Return the first mistake as a sentence that begins with the field's name."""
    error = invalid.errors()[0]
    name = ".".join(map(str, error["loc"]))
    message = re.sub("^(Input|Value error,) ", "", error["msg"])
    is_predicate = re.match("(is|must|should) ", message)
    return f"{name}{' ' if is_predicate else ': ' if name else ''}{message}."

"""What a model file defines: four methods, and optional attributes, read once."""

import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Annotated, Any, NoReturn, Protocol

import pydantic
from pydantic import BaseModel, Field, InstanceOf, ValidationError
from werkzeug.exceptions import BadRequest

from model_interface.fields import NoFields, Values, explain, parse_fields, schemas
from model_interface.files import Upload

SAMPLE_NAMES = {"image": "image.jpg", "audio": "audio.wav"}  # Text needs no file.
FieldsClass = type[BaseModel]
TEXT = "text without control characters"
NO_CONTROLS = r"^\P{C}*$"  # Nor halves of surrogate pairs, which are no UTF-8.
Route = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
Example = InstanceOf[Upload]


class WrongModel(Exception):
    """A method of the model breaks a rule: which, and how, in a sentence."""


class Model(Protocol):
    def __init__(self, device: str) -> None: ...
    def decode(self, upload: Upload) -> Any: ...
    def predict(self, inputs: list[Any]) -> list[Any]: ...
    def encode(self, output: Any) -> Any: ...


def attribute(default: Any, allowed: str, **limits: Any) -> Any:
    return Field(default, description=allowed, **limits)


class ModelInfo(BaseModel, frozen=True, strict=True):
    """The optional attributes of a model, with their defaults and what is allowed."""

    name: str = attribute("", TEXT, pattern=NO_CONTROLS)
    revision: str | None = attribute(None, TEXT, pattern=NO_CONTROLS)
    details: str = attribute("", TEXT, pattern=NO_CONTROLS)
    device: str | None = attribute(None, "text")
    accepts: str = attribute("image/*", 'like "image/*"', pattern="^[a-z]+/[^ ]+$")
    Fields: FieldsClass = attribute(NoFields, "a class that inherits BaseModel")
    routes: Sequence[Route] | dict[Route, FieldsClass] = attribute(
        (), 'a tuple like ("top",), or a dict from each route to its class Fields'
    )
    max_batch: int = attribute(32, "a whole number from 1 to 65,536", ge=1, le=65_536)
    example: list[Example] = attribute([], "an Upload, or a list of them")
    batch_key: Callable[[Any], Hashable] = attribute(lambda input: None, "a method")
    draw: Callable[[Any], Any] | None = attribute(None, "a method")

    @classmethod
    def of(cls, model: Model, name: str, device: str) -> "ModelInfo":
        """Read a loaded model; `name` is for a model without one."""
        names = [each for each in cls.model_fields if hasattr(model, each)]
        own = {each: getattr(model, each) for each in names}
        if isinstance(own.get("example"), Upload):
            own["example"] = [own["example"]]
        try:
            info = cls(**{"name": name} | own | {"device": device})
        except ValidationError as invalid:
            wrong = str(invalid.errors()[0]["loc"][0])
            refuse(f"{wrong} must be {cls.model_fields[wrong].description}.")
        for fields in [info.Fields, *map(info.fields_of, info.routes)]:
            check_fields(fields, {"file", info.accepts.partition("/")[0]})
        examples = [info.check_example(each) for each in info.example]
        return info.model_copy(update={"example": examples})

    def check_example(self, example: Upload) -> Upload:
        """Return an example with its fields checked as those of a request are."""
        if not isinstance(example.data, bytes):
            refuse("the data of the example must be bytes.")
        try:
            values = Values(example.fields or {})
            return replace(
                example, fields=parse_fields(self.fields_of(example.route), values)
            )
        except BadRequest as error:
            refuse(f"the example has wrong fields: {error.description}")

    @property
    def version(self) -> str:
        return f"{self.name}@{self.revision}" if self.revision else self.name

    @property
    def usage(self) -> str:
        return usage(self.accepts)

    def fields_of(self, route: str) -> FieldsClass:
        """Return the class of the fields that a route takes."""
        own = self.routes if isinstance(self.routes, dict) else {}
        return own.get(route, self.Fields)

    def to_json(self) -> dict[str, Any]:
        """Return what `GET /` and `GET /health` show."""
        own = self.model_dump(include={"revision", "device", "details", "accepts"})
        routes = {route: schemas(self.fields_of(route)) for route in self.routes}
        fields = {"fields": schemas(self.Fields), "routes": routes}
        return {"model": self.name} | own | fields


def refuse(problem: str) -> NoReturn:
    raise SystemExit(f"In the class Model, {problem}")


def check_fields(fields: FieldsClass, reserved: set[str]) -> None:
    """Refuse a class Fields that cannot be described, or whose defaults are wrong."""
    try:
        if taken := reserved & schemas(fields).keys():
            refuse(f"a field may not be named {taken.pop()}: that is the input itself.")
        options = {"validate_default": True}
        pydantic.create_model("Checked", __base__=fields, __cls_kwargs__=options)()
        json.dumps(schemas(fields), allow_nan=False)
    except RecursionError:
        refuse(f"{fields.__name__} cannot be described: it contains itself.")
    except pydantic.PydanticUserError as error:
        refuse(f"{fields.__name__} cannot be described: {error.message}")
    except ValidationError as invalid:
        if any(error["type"] != "missing" for error in invalid.errors()):
            refuse(f"a default of {fields.__name__} is wrong: {explain(invalid)}")
    except ValueError:  # after ValidationError, which is one, too
        refuse(f"{fields.__name__} cannot be described: a default is not finite.")


def predict(model: Model, inputs: list[Any]) -> list[Any]:
    """Return one output for each input, or raise WrongModel."""
    outputs = model.predict(inputs)
    is_scalar = getattr(outputs, "shape", None) == ()  # of NumPy or torch
    is_other = is_scalar or isinstance(outputs, str | bytes | dict | set)
    if is_other or not hasattr(outputs, "__len__"):
        raise WrongModel(f"predict returned a {type(outputs).__name__}, not a list.")
    outputs = list(outputs)  # of a table these are its columns, and not its rows
    if len(outputs) != len(inputs):
        counts = f"{len(outputs)} outputs for {len(inputs)} inputs"
        raise WrongModel(f"predict returned {counts}: return one for each.")
    return outputs


def usage(accepts: str) -> str:
    """Explain how to send what a model accepts, a media type like "image/*"."""
    kind = accepts.partition("/")[0]
    if kind == "text":
        return 'Send JSON {"text": "..."}, a form with text, or the text as the body.'
    curl = f"curl -F file=@{SAMPLE_NAMES.get(kind, 'name')}"
    return (
        f'Send a file: {curl}, the file as the body, or JSON {{"{kind}": "<base64>"}}.'
    )

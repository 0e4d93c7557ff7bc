"""What a model file defines, read once: its methods and its optional attributes."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from endpoint.uploads import Upload


class Model(Protocol):
    """The four methods of the class Model in a model file."""

    def __init__(self, device: str) -> None: ...
    def decode(self, upload: Upload) -> Any: ...
    def predict(self, inputs: list[Any]) -> list[Any]: ...
    def encode(self, output: Any) -> Any: ...


def _no_key(input: Any) -> Hashable:
    return None


def _no_drawing(output: Any) -> None:
    return None


@dataclass(frozen=True)
class ModelInfo:
    """The optional attributes of a model, with their defaults."""

    name: str
    device: str | None = None
    revision: str | None = None
    accepts: str = "image/*"
    fields: Mapping[str, str] = field(default_factory=dict)  # name to description
    routes: Sequence[str] = ()
    max_batch: int = 32
    example: Upload | None = None
    batch_key: Callable[[Any], Hashable] = _no_key
    draw: Callable[[Any], Any] = _no_drawing

    @classmethod
    def of(cls, model: Model, name: str, device: str) -> "ModelInfo":
        """Read a loaded model; `name` stands for a model without one."""
        names = [each for each in cls.__dataclass_fields__ if hasattr(model, each)]
        own = {each: getattr(model, each) for each in names}
        return cls(**{"name": name} | own | {"device": device})

    @property
    def can_draw(self) -> bool:
        return self.draw is not _no_drawing

    def to_json(self) -> dict[str, Any]:
        """Return what `GET /` shows."""
        shown = ("name", "revision", "device", "accepts", "fields", "routes")
        values = {each: getattr(self, each) for each in shown}
        return {"model": values.pop("name")} | values

"""What a model file defines, read once: its methods and its optional attributes."""

import importlib
import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from endpoint.device import find_device
from endpoint.uploads import Upload

log = logging.getLogger(__name__)


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
    def version(self) -> str:
        return f"{self.name}@{self.revision}" if self.revision else self.name

    @property
    def can_draw(self) -> bool:
        return self.draw is not _no_drawing

    def to_json(self) -> dict[str, Any]:
        """Return what `GET /` and `GET /health` show."""
        return {
            "model": self.name,
            "revision": self.revision,
            "device": self.device,
            "accepts": self.accepts,
            "fields": dict(self.fields),
            "routes": list(self.routes),
        }


def load_model(module: str, device: str) -> tuple[Model, ModelInfo]:
    """Load the class Model of a module onto a device: cuda, cpu, or "" to find one."""
    device = find_device(device)
    model = importlib.import_module(module).Model(device)
    info = ModelInfo.of(model, module, device)
    log.info("Serving %s on %s.", info.version, device)
    return model, info

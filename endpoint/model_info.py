"""What a model file defines: four methods, and optional attributes, read once."""

import importlib
import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from endpoint.device import find_device
from endpoint.uploads import Upload

log = logging.getLogger(__name__)


class Model(Protocol):
    def __init__(self, device: str) -> None: ...
    def decode(self, upload: Upload) -> Any: ...
    def predict(self, inputs: list[Any]) -> list[Any]: ...
    def encode(self, output: Any) -> Any: ...


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
    batch_key: Callable[[Any], Hashable] = lambda input: None
    draw: Callable[[Any], Any] | None = None

    @classmethod
    def of(cls, model: Model, name: str, device: str) -> "ModelInfo":
        """Read a loaded model; `name` is for a model without one."""
        names = [each for each in cls.__dataclass_fields__ if hasattr(model, each)]
        own = {each: getattr(model, each) for each in names}
        return cls(**{"name": name} | own | {"device": device})

    @property
    def version(self) -> str:
        return f"{self.name}@{self.revision}" if self.revision else self.name

    def to_json(self) -> dict[str, Any]:
        """Return what `GET /` and `GET /health` show."""
        names = ("revision", "device", "accepts", "fields", "routes")
        return {"model": self.name} | {each: getattr(self, each) for each in names}


def load_model(module: str, device: str = "") -> tuple[Model, ModelInfo]:
    """Load the class Model of a module onto a device; "" finds one."""
    device = find_device(device)
    try:
        load = importlib.import_module(module).Model
    except (ModuleNotFoundError, AttributeError) as error:
        if error.name != "Model" and not f"{module}.".startswith(f"{error.name}."):
            raise  # an error in the file itself
        raise SystemExit(f"ENDPOINT_MODULE is {module}: {error}.") from None
    model = load(device)
    info = ModelInfo.of(model, module, device)
    log.info("Serving %s on %s.", info.version, device)
    return model, info

"""ENDPOINT_* environment variables: the type, default and bounds of each."""

import os
import sys
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from endpoint.deprecated import rename_variables

EXIT_BOOT_FAILED = 3  # gunicorn stops at this status; a restart would not help
NAME = r"^[^\W\d]\w*(\.[^\W\d]\w*)*$"
DEVICE, API_KEY = r"^(cpu|mps|cuda(:\d{1,3})?)?$", "^[!-~]+$"
HOSTS = r"^((^|, *)\.?[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*)*$"


def text(default: str | None, pattern: str, description: str) -> Any:
    return Field(default, pattern=pattern, description=description, max_length=1_000)


class Settings(BaseModel, frozen=True, allow_inf_nan=False):
    # The Python module with the class Model: the code.
    module: str = text("endpoint.model", NAME, "the dotted name of a Python module")
    # What that class loads: demo, a folder, or a name on the hub; "" is its own choice.
    model: str = text("", r"^\P{C}*$", "demo, a folder or a name on the hub")
    device: str = text("", DEVICE, "cpu, mps, cuda or a GPU like cuda:1")
    max_batch: int | None = Field(None, ge=1, le=65_536)  # None: the model's own
    # Milliseconds to wait for each further input; a lone client never waits.
    max_batch_delay: float = Field(50, ge=0, le=10_000)
    queue: int = Field(64, ge=1, le=10_000)  # inputs being decoded or waiting
    cache: int = Field(0, ge=0, le=1_000_000)  # outputs that are kept
    deadline: float = Field(90, ge=0.1, le=86_400)  # seconds; Runpod cuts at 100
    max_upload_mb: float = Field(20, ge=0.001, le=4_000)
    max_pixels: int = Field(50_000_000, ge=1, le=10_000_000_000)
    api_key: str | None = text(None, API_KEY, "visible ASCII characters, or unset")
    hosts: str = text("", HOSTS, "host names, separated by commas")
    log: Literal["text", "json"] = Field("text", description="text or json")


def read_settings() -> Settings:
    """Read the environment; a wrong value ends the process with one sentence."""
    rename_variables()
    values: dict[str, Any] = {}
    for name in Settings.model_fields:
        value = os.environ.get(f"ENDPOINT_{name.upper()}")
        # An empty API key is an error, because it would let everybody in.
        if value or (value is not None and name == "api_key"):
            values[name] = value.strip()
    try:
        return Settings(**values)
    except ValidationError as invalid:
        name = str(invalid.errors()[0]["loc"][0])
        field = Settings.model_fields[name]
        kind = "a number" if field.annotation is float else "a whole number"
        allowed = field.description
        if not allowed:
            lowest, highest = field.metadata
            allowed = f"{kind} from {lowest.ge:,} to {highest.le:,}"
        print(f"ENDPOINT_{name.upper()} must be {allowed}.", file=sys.stderr)
        sys.exit(EXIT_BOOT_FAILED)

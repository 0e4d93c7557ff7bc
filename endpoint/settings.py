"""ENDPOINT_* environment variables: the type, default and bounds of each."""

import logging
import os
import sys
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

log = logging.getLogger(__name__)

EXIT_BOOT_FAILED = 3  # gunicorn stops at this status; a restart would not help
OLD_NAMES = {"ENDPOINT_MODULE": "ENDPOINT_APP"}  # read until the next release


class Settings(BaseModel, frozen=True, allow_inf_nan=False):
    module: str = Field("endpoint.model", description="a Python module")
    model: str = Field("", description="demo, a folder, or a name on Hugging Face")
    device: str = Field(
        "", pattern=r"^([a-z]+(:\d+)?)?$", description="cpu, cuda or a GPU like cuda:1"
    )
    max_batch: int | None = Field(None, ge=1, le=65_536)  # None: the model's own
    max_batch_delay: float = Field(50, ge=0, le=10_000)  # milliseconds
    queue: int = Field(64, ge=1, le=10_000)  # inputs that are decoded or wait
    deadline: float = Field(
        90, ge=0.1, le=86_400
    )  # seconds; Runpod's proxy cuts at 100
    max_upload_mb: float = Field(20, ge=0.001, le=4_000)
    max_pixels: int = Field(50_000_000, ge=1, le=10_000_000_000)
    api_key: str | None = Field(
        None, pattern="^[!-~]+$", description="printable ASCII without spaces, or unset"
    )
    log: Literal["text", "json"] = "text"


def read_settings() -> Settings:
    """Read the environment; a wrong value ends the process with one sentence."""
    values: dict[str, Any] = {}
    for name in Settings.model_fields:
        value = _variable(f"ENDPOINT_{name.upper()}")
        # An empty API key is an error, because it would let everybody in.
        if value or (value is not None and name == "api_key"):
            values[name] = value
    try:
        return Settings(**values)
    except ValidationError as invalid:
        error = invalid.errors()[0]
        name = str(error["loc"][0])
        allowed = Settings.model_fields[name].description
        problem = (
            f"must be {allowed}" if allowed else error["msg"].replace("Input ", "")
        )
        print(f"ENDPOINT_{name.upper()} {problem}.", file=sys.stderr)
        sys.exit(EXIT_BOOT_FAILED)


def _variable(name: str) -> str | None:
    old = OLD_NAMES.get(name, name)
    if name not in os.environ and old in os.environ:
        _warn_renamed(old, name)
        name = old
    return os.environ[name].strip() if name in os.environ else None


@cache  # once in a process
def _warn_renamed(old: str, new: str) -> None:
    log.warning("%s is now %s; the old name works until the next release.", old, new)

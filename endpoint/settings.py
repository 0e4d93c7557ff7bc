"""ENDPOINT_* environment variables: type, default and bounds of each, in one place."""

import logging
import os
import sys
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

log = logging.getLogger(__name__)

EXIT_BOOT_FAILED = 3  # gunicorn stops at this status; a restart would not help
RENAMED = {"ENDPOINT_APP": "ENDPOINT_MODULE"}  # old names work for one more release


class Settings(BaseModel):
    """A description completes the sentence "ENDPOINT_X must be ..."."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    module: str = Field(
        "endpoint.model", pattern=r"^[\w.]+$", description="a Python module"
    )
    model: str = Field(
        "", description="demo, a folder, or a Hugging Face name with or without @revision"
    )
    device: str = Field(
        "", pattern=r"^([a-z]+(:\d+)?)?$", description="cpu, cuda, or a GPU like cuda:1"
    )
    max_batch: int | None = Field(
        None, ge=1, le=65_536, description="a whole number from 1 to 65536 (inputs)"
    )
    max_batch_delay: float = Field(
        50, ge=0, le=10_000, description="a number from 0 to 10000 (milliseconds)"
    )
    queue: int = Field(
        64, ge=1, le=10_000, description="a whole number from 1 to 10000 (inputs)"
    )
    deadline: float = Field(
        90, ge=0.1, le=86_400, description="a number from 0.1 to 86400 (seconds)"
    )
    max_upload_mb: float = Field(
        20, gt=0, le=4_000, description="a number above 0, at most 4000 (megabytes)"
    )
    max_pixels: int = Field(
        50_000_000, ge=1, le=10**10, description="a whole number from 1 to 10000000000"
    )
    api_key: str | None = Field(
        None, pattern="^[!-~]+$", description="printable ASCII without spaces, or unset"
    )
    log: Literal["text", "json"] = Field("text", description="text or json")


def read_settings() -> Settings:
    """Read the environment; a wrong value ends the process with one sentence."""
    values: dict[str, Any] = {}
    for name in Settings.model_fields:
        value = _variable(f"ENDPOINT_{name.upper()}")
        # An empty API key is refused: it would leave the endpoint open.
        if value or (value is not None and name == "api_key"):
            values[name] = value
    try:
        return Settings(**values)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        allowed = Settings.model_fields[name].description
        print(f"ENDPOINT_{name.upper()} must be {allowed}.", file=sys.stderr)
        sys.exit(EXIT_BOOT_FAILED)


def _variable(name: str) -> str | None:
    value = os.environ.get(name)
    for old, new in RENAMED.items():
        if new == name and value is None and old in os.environ:
            _warn_renamed(old, new)
            value = os.environ[old]
    return None if value is None else value.strip()


@cache  # once in a process
def _warn_renamed(old: str, new: str) -> None:
    log.warning("%s is now %s; the old name works until the next release.", old, new)

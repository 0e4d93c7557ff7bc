"""ENDPOINT_* environment variables: the type, default and bounds of each."""

import os
import sys
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from endpoint.renamed import rename_variables

EXIT_BOOT_FAILED = 3  # gunicorn stops at this status; a restart would not help
DEVICE, API_KEY = r"^([a-z]+(:\d+)?)?$", "^[!-~]+$"


class Settings(BaseModel, frozen=True, allow_inf_nan=False):
    module: str = "endpoint.model"
    model: str = ""  # demo, a folder, or a name on the Hugging Face hub
    device: str = Field(
        "", pattern=DEVICE, description="cpu, cuda or a GPU like cuda:1"
    )
    max_batch: int | None = Field(None, ge=1, le=65_536)  # None: the model's own
    max_batch_delay: float = Field(50, ge=0, le=10_000)  # milliseconds
    queue: int = Field(64, ge=1, le=10_000)  # inputs that are decoded or wait
    deadline: float = Field(90, ge=0.1, le=86_400)  # seconds; Runpod cuts at 100
    max_upload_mb: float = Field(20, ge=0.001, le=4_000)
    max_pixels: int = Field(50_000_000, ge=1, le=10_000_000_000)
    api_key: str | None = Field(
        None, pattern=API_KEY, description="printable ASCII without spaces, or unset"
    )
    log: Literal["text", "json"] = "text"


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
        error = invalid.errors()[0]
        name = str(error["loc"][0])
        description = Settings.model_fields[name].description
        message = error["msg"].removeprefix("Input should be ").partition(",")[0]
        allowed = description or message
        print(f"ENDPOINT_{name.upper()} must be {allowed}.", file=sys.stderr)
        sys.exit(EXIT_BOOT_FAILED)

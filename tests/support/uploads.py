"""Requests without a server, parsed to uploads, and how they are refused."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel
from werkzeug.exceptions import HTTPException
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from endpoint.uploads import parse_uploads
from model_interface.fields import NoFields
from model_interface.files import Upload


class LimitedRequest(Request):
    max_content_length = 100_000
    max_form_memory_size = 50_000
    max_form_parts = 10


def parse(
    accepts: str = "image/*", fields: type[BaseModel] = NoFields, **request: Any
) -> list[Upload]:
    """Parse a POST request that is given as arguments of EnvironBuilder."""
    environ = EnvironBuilder(method="POST", **request).get_environ()
    return parse_environ(environ, accepts, fields)


def parse_environ(
    environ: dict[str, Any],
    accepts: str = "image/*",
    fields: type[BaseModel] = NoFields,
) -> list[Upload]:
    return parse_uploads(LimitedRequest(environ), accepts, fields)


def refusal(call: Callable, *arguments: Any, **options: Any) -> tuple[int, str]:
    """Return the status and the sentence with which a call is refused."""
    with pytest.raises(HTTPException) as refused:
        call(*arguments, **options)
    return refused.value.code, refused.value.description

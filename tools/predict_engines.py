"""Inputs to answers: by the model in this process, or by a server over HTTP."""

import json
import os
import sys
import time
from collections.abc import Mapping
from functools import partial
from http.client import HTTPException
from typing import Any, Protocol
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import click

from endpoint.batcher import Batcher, State
from endpoint.jobs import Job
from endpoint.model_info import ModelInfo, load_model
from endpoint.responses import to_answer, to_json
from endpoint.settings import read_settings
from endpoint.uploads import Upload
from tools.predict_sources import InputError

TIMEOUT = 600  # seconds for a batch, or for a server that is full or loading
FETCH_THREADS = 16  # each fetches one URL at a time
MAX_REQUESTS = 64  # on their way to a server, which makes batches of them


class Engine(Protocol):
    """Answer an upload in two calls, each in `threads` threads.

    `collect` takes what `submit` returned, and returns the answer as JSON or raises the
    reason why there is no answer.
    """

    accepts: str  # a media type like "image/*"
    fields: Mapping[str, str]  # the model's own fields, each with its description
    threads: int
    max_in_flight: int  # uploads between submit and collect

    def submit(self, upload: Upload) -> Any: ...
    def collect(self, submitted: Any) -> dict[str, Any]: ...


class LocalEngine:
    """The model in this process, behind the batcher that HTTP has as well."""

    def __init__(self, module: str, fetches_urls: bool) -> None:
        # OpenMP's threads wait in a loop on the cores that decode the next inputs.
        # A shorter loop gains a tenth here; for HTTP it would cost a lone request
        # a twentieth of its time.
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")
        limits = {"queue": sys.maxsize, "deadline": TIMEOUT}
        settings = read_settings().model_copy(update=limits)
        load = partial(load_model, module, settings.device)
        self.batcher = Batcher(load, ModelInfo(name=module), settings)
        self.batcher.start()
        while self.batcher.health()[0] != State.READY:  # A failure ends the process.
            time.sleep(0.02)
        self.accepts = self.batcher.info.accepts
        self.fields = self.batcher.info.fields
        # More threads than cores would only take the interpreter from each other.
        cores = os.cpu_count() or 1
        self.threads = FETCH_THREADS if fetches_urls else min(cores, FETCH_THREADS)
        # While one batch runs, the next one waits and another is decoded.
        self.max_in_flight = 3 * self.batcher.runner.max_batch

    def submit(self, upload: Upload) -> Job:
        return self.batcher.submit(upload)

    def collect(self, submitted: Job) -> dict[str, Any]:
        return to_json(to_answer(self.batcher.model.encode(submitted.result())))


class RemoteEngine:
    """A server; the constructor waits until its model is loaded."""

    threads = max_in_flight = MAX_REQUESTS

    def __init__(self, url: str, api_key: str | None) -> None:
        self._url, self._headers = url, {"Accept": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        info = wait_until_loaded(Request(url, headers=self._headers))
        self.accepts: str = info["accepts"]
        self.fields: Mapping[str, str] = info["fields"]

    def submit(self, upload: Upload) -> dict[str, Any]:
        query = urlencode([*upload.fields.items(True)])
        headers = self._headers | {"Content-Type": upload.media_type}
        return send(Request(f"{self._url}/predict?{query}", upload.data, headers))

    def collect(self, submitted: dict[str, Any]) -> dict[str, Any]:
        return submitted


def wait_until_loaded(request: Request) -> dict[str, Any]:
    """Return what a server describes at `GET /`, once its model is loaded."""
    deadline = time.monotonic() + TIMEOUT
    try:
        while (info := send(request)).get("state") == State.LOADING:
            if time.monotonic() > deadline:
                raise InputError("Its model is still loading.")
            time.sleep(1)
        if not {"accepts", "fields"} <= info.keys():
            raise InputError("The JSON at this URL does not describe a model.")
        return info
    except InputError as error:
        url = request.full_url
        raise click.ClickException(f"No endpoint responds at {url}: {error}") from None


def send(request: Request) -> dict[str, Any]:
    """Return a server's JSON; repeat the request while the server is busy."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            with urlopen(request, timeout=TIMEOUT) as response:
                return dict(json.load(response))
        except HTTPError as error:
            with error:
                retry_after = error.headers["Retry-After"] or ""
                if not retry_after.isdecimal() or time.monotonic() > deadline:
                    raise to_input_error(error) from None
            time.sleep(min(int(retry_after), 10))
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise InputError(f"The server cannot be reached: {reason}.") from None
        except (HTTPException, ValueError, TypeError):
            raise InputError("The server's response is not a JSON object.") from None


def to_input_error(error: HTTPError) -> Exception:
    """Return the server's own sentence; a wrong API key ends the command."""
    try:
        sentence = json.load(error)["detail"]
    except (ValueError, LookupError, TypeError):
        sentence = f"The server responds with {error.code} {error.reason}."
    return (click.ClickException if error.code == 401 else InputError)(sentence)

"""Inputs to answers: by the model in this process, or by a server over HTTP."""

import io
import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from http.client import HTTPException
from typing import Any, Protocol
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import click
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import BadRequest
from werkzeug.test import encode_multipart

from endpoint.batcher import Batcher, State
from endpoint.job_queue import Job
from endpoint.responses import to_json
from endpoint.settings import read_settings
from model_helpers.slots import CORES
from model_interface.answers import data_uri, to_answer
from model_interface.fields import Schema, Values, parse_fields, schemas, types_of
from model_interface.files import File, Upload
from model_interface.loading import load_model
from tools.predict_fields import class_fields
from tools.predict_files import files_of
from tools.predict_sources import InputError

TIMEOUT = 600  # seconds for a batch, or for a server that is full or loading
FETCH_THREADS = 16  # each fetches one URL at a time
MAX_REQUESTS = 64  # on their way to a server, which makes batches of them
MAX_QUERY = 2_000  # characters; servers refuse long URLs, but no long forms
JSON, JSON_OR_IMAGE = "application/json", "image/png, application/json;q=0.5"


class Engine(Protocol):
    """Answer an upload in two calls, each in `threads` threads, once it is started.

    `start` checks the values of the model's fields, which all inputs share. `collect`
    takes what `submit` returned, and returns the answer as JSON or raises the reason
    why there is no answer.
    """

    fields: Mapping[str, Schema]  # the model's own fields
    accepts: str  # a media type like "image/*", once it is started
    threads: int
    max_in_flight: int  # uploads between submit and collect

    def start(self, values: Values) -> None: ...
    def submit(self, upload: Upload) -> Any: ...
    def collect(self, submitted: Any) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Decoded:
    """What a model's `decode` returned in another process."""

    input: Any


class LocalEngine:
    """The model in this process, behind the batcher that HTTP has as well.

    `draws` says whether an answer without a file is to be drawn.
    """

    def __init__(self, module: str, fetches_urls: bool, draws: bool) -> None:
        # OpenMP's threads wait in a loop on the cores that decode the next inputs.
        # A shorter loop gains a tenth here; for HTTP it would cost a lone request
        # a twentieth of its time.
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")
        limits = {"queue": sys.maxsize, "deadline": TIMEOUT}
        settings = read_settings().model_copy(update=limits)
        self.batcher = Batcher(partial(load_model, module), module, settings)
        self._draws = draws
        # More threads than cores would only compete for the GIL.
        self.threads = FETCH_THREADS if fetches_urls else min(CORES, FETCH_THREADS)
        self._fields_class = None
        with suppress(Exception, SystemExit):  # Loading the model tells the reason.
            self._fields_class = class_fields(module)
        if self._fields_class is None:  # The loaded model may have fields of its own.
            self._load()
        self.fields = schemas(self._fields_class or self.batcher.info.Fields)

    def start(self, values: Values) -> None:
        """Check the values before the model is loaded, which may take minutes."""
        fields_class = self._fields_class or self.batcher.info.Fields
        try:
            self._checked = parse_fields(fields_class, values)
        except BadRequest as error:
            raise click.UsageError(str(error.description)) from None
        if self.batcher.model is None:
            self._load()
        self.accepts = self.batcher.info.accepts
        # While one batch runs, the next one waits and another is decoded.
        self.max_in_flight = 3 * self.batcher.runner.max_batch

    def _load(self) -> None:
        self.batcher.start()
        while self.batcher.health()[0] != State.READY:  # A failure ends the process.
            time.sleep(0.02)

    def submit(self, upload: Upload | Decoded) -> Job:
        if isinstance(upload, Upload):
            return self.batcher.submit(replace(upload, fields=self._checked))
        job = Job(time.monotonic() + TIMEOUT)
        job.input = upload.input
        job.key = self.batcher.info.batch_key(job.input)
        self.batcher.queue.reserve()
        self.batcher.queue.put(job)
        return job

    def example(self) -> dict[str, Any]:
        """Return the answer to the model's example, {} if it has none."""
        output = self.batcher.example_output
        return {} if output is None else self._encode(output)

    def collect(self, submitted: Job) -> dict[str, Any]:
        return self._encode(submitted.result())

    def _encode(self, output: Any) -> dict[str, Any]:
        draw = self.batcher.info.draw
        answer = to_json(to_answer(self.batcher.model.encode(output)))
        if self._draws and draw and not files_of(answer):
            if drawing := draw(output):
                return to_json(to_answer(drawing))
        return answer


class RemoteEngine:
    """A server; the constructor waits until its model is loaded."""

    threads = max_in_flight = MAX_REQUESTS

    def __init__(self, url: str, api_key: str | None, draws: bool) -> None:
        self._url, self._headers = url, {"Accept": JSON}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        info = wait_until_loaded(Request(url, headers=self._headers))
        self.accepts: str = info["accepts"]
        self.fields: Mapping[str, Schema] = info["fields"]
        self._draws, self._accept = draws, JSON

    def start(self, values: Values) -> None:
        """Let the server check the values, by sending 1, which is no valid input."""
        self._values = values
        files = [each for each in values.values() if isinstance(each, Upload)]
        self._query = urlencode([*values.items(True)] if not files else [])
        self._is_form = bool(files) or len(self._query) > MAX_QUERY
        if not self.fields:
            return
        kind = self.accepts.partition("/")[0]
        body = {kind: 1} | {
            name: to_json_value(sent, types_of(self.fields.get(name, {})))
            for name, sent in values.lists()
        }
        try:
            self._post("", json.dumps(body).encode(), JSON, JSON)
        except Refusal as refusal:  # The fields are checked before the input.
            if not str(refusal).startswith(f'"{kind}" '):
                raise click.UsageError(str(refusal)) from None
        except InputError:
            pass  # Each input tells what is wrong with the server.

    def submit(self, upload: Upload) -> dict[str, Any]:
        accept = self._accept
        answer = self._send(upload, accept)
        if self._draws and accept == JSON and not files_of(answer):
            # The server draws instead, if it can: also the answers to come, at once.
            self._accept = JSON_OR_IMAGE
            return self._send(upload, JSON_OR_IMAGE)
        return answer

    def collect(self, submitted: dict[str, Any]) -> dict[str, Any]:
        return submitted

    def _send(self, upload: Upload, accept: str) -> dict[str, Any]:
        # A file of JSON would be taken for a request in JSON.
        if not self._is_form and upload.media_type != JSON:
            query = f"?{self._query}"
            return self._post(query, upload.data, upload.media_type, accept)
        form: MultiDict[str, Any] = MultiDict({"file": to_part("file", upload)})
        for name, value in self._values.items(True):
            is_file = isinstance(value, Upload)
            form.add(name, to_part(name, value) if is_file else value)
        boundary, body = encode_multipart(form)
        media_type = f'multipart/form-data; boundary="{boundary}"'
        return self._post("", body, media_type, accept)

    def _post(self, query: str, body: bytes, kind: str, accept: str) -> dict[str, Any]:
        headers = self._headers | {"Content-Type": kind, "Accept": accept}
        return send(Request(f"{self._url}/predict{query}", body, headers))


def to_part(name: str, upload: Upload) -> FileStorage:
    """Return a part of a form; a part without a file name would be a text."""
    stream = io.BytesIO(upload.data)
    return FileStorage(stream, name, content_type=upload.media_type)


def to_json_value(sent: list[Any], types: set[str]) -> Any:
    """Return what was sent under a name as JSON, with files as base64."""
    values = [
        data_uri(File(each.data, each.media_type)) if isinstance(each, Upload) else each
        for each in sent
    ]
    is_file = isinstance(sent[-1], Upload)
    is_list = "array" in types and (is_file or len(sent) > 1)
    return values if is_list else values[-1]


class Refusal(InputError):
    """What a server tells with the status 400."""


def wait_until_loaded(request: Request) -> dict[str, Any]:
    """Return what a server describes at `GET /`, once its model is loaded."""
    deadline = time.monotonic() + TIMEOUT
    try:
        while (info := send(request)).get("state") == State.LOADING:
            if time.monotonic() > deadline:
                raise InputError("Its model is still loading.")
            time.sleep(1)
        fields = info.get("fields")
        if "accepts" not in info or not is_schemas(fields):
            raise InputError("The JSON at this URL does not describe a model.")
        return info
    except InputError as error:
        url = request.full_url
        problem = f"The endpoint at {url} cannot be used: {error}"
        raise click.ClickException(problem) from None


def is_schemas(fields: Any) -> bool:
    """Return whether these are schemas; older servers have descriptions."""
    return isinstance(fields, dict) and all(
        isinstance(s, dict) for s in fields.values()
    )


def send(request: Request) -> dict[str, Any]:
    """Return a server's JSON or image; repeat the request while it is busy."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            with urlopen(request, timeout=TIMEOUT) as response:
                if response.headers.get_content_maintype() == "image":
                    media_type = response.headers.get_content_type()
                    return {"image": data_uri(File(response.read(), media_type))}
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
    kinds = {400: Refusal, 401: click.ClickException}
    return kinds.get(error.code, InputError)(sentence)

"""`flask smoke`: a deployed endpoint to a list of checks, each passed or failed."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import click

from model_interface.files import ROOT, guess_media_type
from tools.smoke_load import TIMEOUT, LoadTest

IMAGE = ROOT / "french_bulldog.jpg"
MAX_SHOWN = 200  # characters of an answer


class CheckFailed(Exception):
    """What an endpoint should not do, in a sentence."""


@dataclass
class Response:
    status: int
    media_type: str
    body: bytes
    timings: str  # the milliseconds in all, and of each stage

    def json(self) -> dict[str, Any]:
        """Return the JSON object that the body should be."""
        try:
            return dict(json.loads(self.body))
        except (ValueError, TypeError):
            raise CheckFailed(
                f"status {self.status} with {self.media_type} instead of a JSON "
                "object: a proxy or another server responds"
            ) from None

    def error(self, *expected: int) -> str:
        """Return the sentence of the error that the response should be."""
        if self.status not in expected:
            raise CheckFailed(f"status {self.status} instead of {expected[0]}")
        return f"status {self.status}, {self.json().get('detail')}"


@click.command()
@click.argument("url")
@click.option("--api-key", envvar="ENDPOINT_API_KEY", help="Default: ENDPOINT_API_KEY.")
@click.option(
    "--images",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File to send; repeatable. Default: french_bulldog.jpg.",
)
@click.option(
    "--field",
    multiple=True,
    help="NAME=VALUE to send with each file, such as explain=true; repeatable.",
)
@click.option(
    "--wait",
    default=300.0,
    show_default=True,
    help="Seconds to wait for the endpoint to be ready.",
)
@click.option(
    "--load",
    default=0.0,
    help="Seconds of a load test, once all checks have passed.",
)
@click.option(
    "--clients",
    default=16,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Clients of the load test; each sends a file once its last one is answered.",
)
@click.option(
    "--max-p99",
    type=float,
    help="Seconds within which 99 % of the answers must arrive.",
)
@click.option(
    "--max-errors",
    default=0.0,
    show_default=True,
    help="Percent of the responses that may have another status than 200.",
)
def smoke(
    url: str,
    api_key: str | None,
    images: tuple[Path, ...],
    field: tuple[str, ...],
    wait: float,
    load: float,
    **options: Any,
) -> None:
    """Check a deployed endpoint: readiness, answers, errors, API key and load."""
    endpoint = Endpoint(url, api_key, field)
    images = images or (IMAGE,)
    passed = run_check("ready", lambda: endpoint.check_ready(wait))
    passed = passed and run_checks(endpoint, images)
    if passed and load:
        requests = [endpoint.prediction(image) for image in images]
        passed = run_check("load", lambda: check_load(requests, load, **options))
    sys.exit(not passed)


def run_checks(endpoint: "Endpoint", images: tuple[Path, ...]) -> bool:
    """Run the checks that need an endpoint that is ready."""
    passed = [run_check("model", endpoint.check_model)]
    for image in images:
        passed.append(run_check(image.name, lambda: endpoint.check_answer(image)))
    checks = {
        "invalid file": lambda: endpoint.check_invalid_file(images[0]),
        "API key": lambda: endpoint.check_api_key(images[0]),
        "top_k": lambda: endpoint.check_top_k(images[0]),
        "still ready": lambda: endpoint.check_ready(0),
    }
    passed += [run_check(name, check) for name, check in checks.items()]
    return all(passed)


def check_load(
    requests: list[Request],
    seconds: float,
    clients: int,
    max_p99: float | None,
    max_errors: float,
) -> str:
    test = LoadTest(requests, clients)
    test.run(seconds)
    errors, p99 = test.error_percent(), test.percentile(0.99)
    if errors > max_errors:
        problem = f"{errors:.1f} % errors, over --max-errors {max_errors:g}"
        raise CheckFailed(f"{problem}; {test}")
    if max_p99 is not None and p99 > max_p99:
        raise CheckFailed(f"p99 is {p99:.2f} s, over --max-p99 {max_p99:g}; {test}")
    return str(test)


def run_check(name: str, check: Callable[[], str]) -> bool:
    """Print what a check returns and whether it passed."""
    try:
        click.echo(f"ok      {name}: {check()}")
        return True
    except CheckFailed as failure:
        click.echo(f"FAILED  {name}: {failure}")
        return False


class Endpoint:
    """A deployed endpoint; each check returns what it found or raises CheckFailed."""

    def __init__(self, url: str, api_key: str | None, fields: tuple[str, ...]) -> None:
        self.url, self.api_key = url.rstrip("/"), api_key
        self.fields = [field.partition("=")[::2] for field in fields]
        self.routes: dict[str, Any] = {}  # each with its fields, once it is known

    def request(
        self,
        path: str,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
        api_key: str | None = None,
    ) -> Request:
        """Return a GET or, with data, a POST; `api_key` replaces the right one."""
        # Cloudflare, which Runpod's proxy is behind, refuses urllib's own User-Agent.
        known = {"Accept": "application/json", "User-Agent": "flask-smoke"}
        headers = known | (headers or {})
        if key := self.api_key if api_key is None else api_key:
            headers["Authorization"] = f"Bearer {key}"
        try:
            return Request(f"{self.url}{path}", data, headers)
        except ValueError as error:
            raise CheckFailed(f"no response: {error}") from None

    def prediction(
        self,
        file: Path,
        data: bytes | None = None,
        route: str = "",
        api_key: str | None = None,
        **query: object,
    ) -> Request:
        """Return a request with a file, or other data, and the route's fields."""
        known = self.routes.get(route.removeprefix("/"), dict(self.fields))
        fields = [(name, value) for name, value in self.fields if name in known]
        values = urlencode([*fields, *query.items()])
        data = file.read_bytes() if data is None else data
        headers = {"Content-Type": guess_media_type(file.name)}
        return self.request(f"/predict{route}?{values}", data, headers, api_key)

    def predict(self, *arguments: Any, **options: Any) -> Response:
        return self.send(self.prediction(*arguments, **options))

    def get(self, path: str) -> Response:
        return self.send(self.request(path))

    def send(self, request: Request) -> Response:
        started = time.monotonic()
        try:
            with open_url(request) as response:
                body, received = response.read(), response.headers
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise CheckFailed(f"no response: {reason}") from None
        stages = received.get("Server-Timing", "no Server-Timing")
        total = 1000 * (time.monotonic() - started)
        timings = f"{total:.0f} ms; {stages.replace(';dur=', ' ')}"
        return Response(response.status, received.get_content_type(), body, timings)

    def check_ready(self, wait: float) -> str:
        started = time.monotonic()
        while problem := self._not_ready():
            if time.monotonic() - started >= wait:
                raise CheckFailed(f"not ready after {wait:g} s: {problem}")
            time.sleep(min(1, wait / 10))
        return f"after {time.monotonic() - started:.1f} s"

    def _not_ready(self) -> str:
        """Return why the endpoint is not ready, "" if it is."""
        try:
            status = self.get("/ping").status
        except CheckFailed as failure:
            return str(failure)
        known = {200: "", 204: "the model is loading"}
        return known.get(status, f"/ping responds with status {status}")

    def check_model(self) -> str:
        info = self.get("/").json()
        if isinstance(routes := info.get("routes"), dict):
            self.routes = routes
        return f"{info.get('model')} on {info.get('device')}"

    def check_answer(self, file: Path) -> str:
        response = self.predict(file)
        if response.status == 401:
            raise CheckFailed("the endpoint requires an API key: use --api-key")
        if response.status != 200:
            raise CheckFailed(response.error(response.status))
        answer = next(iter(response.json().values()), "")
        if not answer:
            raise CheckFailed(f"the answer is empty: {response.body.decode()}")
        shown = str(answer)  # A file is a long data: URI.
        shown = shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}..."
        return f"{shown} ({response.timings})"

    def check_invalid_file(self, file: Path) -> str:
        half = file.read_bytes()[:1000] if file.stat().st_size > 2000 else b"\xff\xfe"
        return self.predict(file, half).error(422, 415, 400)

    def check_api_key(self, file: Path) -> str:
        if not self.api_key:
            return "skipped, because no --api-key is given"
        sentence = self.predict(file, api_key="").error(401)
        self.predict(file, api_key=f"{self.api_key}-").error(401)
        return sentence

    def check_top_k(self, file: Path) -> str:
        if "top_k" not in self.routes.get("top", {"top_k": {}}):
            return "skipped, because the route /predict/top has no field top_k"
        response = self.predict(file, route="/top", top_k=2)
        if response.status == 404:
            return "skipped, because the model has no route /predict/top"
        found = response.json().get("predictions")
        if response.status != 200 or not isinstance(found, list) or len(found) != 2:
            problem = f"status {response.status} without two predictions for top_k=2"
            raise CheckFailed(problem)
        return self.predict(file, route="/top", top_k=0).error(400, 422)


def open_url(request: Request) -> Any:
    """Return the response, also for a status that urlopen raises as an error."""
    try:
        return urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        return error

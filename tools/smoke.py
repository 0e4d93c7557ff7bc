"""`flask smoke`: a deployed endpoint tried over HTTP, each surprise a sentence."""

import json
import mimetypes
import sys
import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import click

PICTURE = Path(__file__).parents[2] / "french_bulldog.jpg"
TIMEOUT = 100  # seconds for an answer


class Surprise(Exception):
    """What an endpoint should not do, in a sentence."""


class Answer(NamedTuple):
    status: int
    kind: str
    body: bytes
    told: str  # the milliseconds it took in all, and in each stage

    def json(self) -> dict[str, Any]:
        """Return the JSON object that it should be."""
        try:
            return dict(json.loads(self.body))
        except (ValueError, TypeError):
            raise Surprise(
                f"{self.status} with {self.kind} in place of JSON: a proxy or another "
                "server answers."
            ) from None

    def refusal(self, *expected: int) -> str:
        """Return the sentence of the problem that it should be."""
        if self.status not in expected:
            raise Surprise(f"{self.status} where {expected[0]} was due.")
        return f"{self.status}, {self.json().get('detail')}"


@click.command()
@click.argument("url")
@click.option("--api-key", envvar="ENDPOINT_API_KEY", help="That of the endpoint.")
@click.option("--images", multiple=True, type=click.Path(path_type=Path, exists=True))
@click.option("--field", multiple=True, help="What the model takes beside, NAME=VALUE.")
@click.option("--wait", default=300.0, help="Seconds that it may take to be ready.")
def smoke(
    url: str, api_key: str | None, images: tuple[Path], field: tuple[str], wait: float
) -> None:
    """Check a deployed endpoint: readiness, answers, refusals, its key."""
    endpoint = Endpoint(url, api_key, field)
    passed = [passes("ready", lambda: endpoint.ready(wait))]
    if all(passed):
        passed.append(passes("serves", endpoint.serves))
        for image in images or [PICTURE]:
            passed.append(passes(image.name, lambda: endpoint.responses(image)))
        first = (images or [PICTURE])[0]
        passed.append(passes("broken file", lambda: endpoint.refuses_broken(first)))
        passed.append(passes("wrong key", lambda: endpoint.refuses_key(first)))
        passed.append(passes("top-k", lambda: endpoint.ranks(first)))
        passed.append(passes("still ready", lambda: endpoint.ready(0)))
    sys.exit(not all(passed))


def passes(what: str, check: Callable[[], str]) -> bool:
    """Print what a check found and return whether nothing surprised it."""
    try:
        click.echo(f"ok     {what}: {check()}")
        return True
    except Surprise as surprise:
        click.echo(f"WRONG  {what}: {surprise}")
        return False


class Endpoint:
    """The checks, each of which returns what it saw or raises Surprise."""

    def __init__(self, url: str, key: str | None, fields: tuple[str, ...]) -> None:
        self.url, self.key = url.rstrip("/"), key
        self.fields = [field.partition("=")[::2] for field in fields]

    def ask(self, path: str, data: bytes | None = None, **more: str) -> Answer:
        """Return the answer to a GET or, with data, a POST."""
        kind = more.get("kind", "application/octet-stream")
        headers = {"Accept": "application/json", "Content-Type": kind}
        if key := more.get("key", self.key):
            headers["Authorization"] = f"Bearer {key}"
        started = time.monotonic()
        try:
            request = Request(f"{self.url}{path}", data, headers)
            try:
                response = urlopen(request, timeout=TIMEOUT)
            except HTTPError as error:
                response = error  # It is an answer, too.
            with response:
                body, sent = response.read(), response.headers
        except (OSError, HTTPException, ValueError) as error:
            raise Surprise(f"no answer, {error}") from None
        stages = sent.get("Server-Timing", "untold").replace(";dur=", " ")
        told = f"{1000 * (time.monotonic() - started):.0f} ms; {stages}"
        return Answer(response.status, sent.get_content_type(), body, told)

    def post(self, path: str, file: Path, data: bytes | None = None, **more) -> Answer:
        kind = mimetypes.guess_type(file, strict=False)[0] or "application/octet-stream"
        query = urlencode([*self.fields, *more.pop("query", {}).items()])
        data = file.read_bytes() if data is None else data
        return self.ask(f"{path}?{query}", data, kind=kind, **more)

    def ready(self, wait: float) -> str:
        started, seen = time.monotonic(), ""
        while True:
            try:
                status = self.ask("/ping").status
                seen = {200: "", 204: "it loads"}.get(status, f"/ping says {status}")
            except Surprise as surprise:
                seen = str(surprise)
            waited = time.monotonic() - started
            if not seen:
                return f"after {waited:.1f} s"
            if waited >= wait:
                raise Surprise(f"It is not ready after {wait:g} s: {seen}.")
            time.sleep(min(1, wait / 10))

    def serves(self) -> str:
        served = self.ask("/").json()
        return f"{served.get('model')} on {served.get('device')}"

    def answers(self, file: Path) -> str:
        answer = self.post("/predict", file)
        if answer.status == 401:
            raise Surprise("The endpoint wants a key: give it with --api-key.")
        if answer.status != 200:
            raise Surprise(f"{answer.refusal(answer.status)}")
        first = next(iter(answer.json().values()), "")
        if not first:
            raise Surprise(f"An empty answer: {answer.body.decode()}")
        return f"{first} ({answer.told})"

    def refuses_broken(self, file: Path) -> str:
        half = file.read_bytes()[:1000] if file.stat().st_size > 2000 else b"\xff\xfe"
        return self.post("/predict", file, half).refusal(422, 415, 400)

    def refuses_key(self, file: Path) -> str:
        if not self.key:
            return "not tried, for no --api-key was given"
        missing = self.post("/predict", file, key="").refusal(401)
        self.post("/predict", file, key=f"{self.key}-").refusal(401)
        return missing

    def ranks(self, file: Path) -> str:
        answer = self.post("/predict/top", file, query={"top_k": 2})
        if answer.status == 404:
            return "not offered"
        found = answer.json().get("predictions")
        if answer.status != 200 or not isinstance(found, list) or len(found) != 2:
            raise Surprise(f"{answer.status} without two predictions for top_k=2.")
        return self.post("/predict/top", file, query={"top_k": 0}).refusal(400, 422)

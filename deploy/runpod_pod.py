"""An image to a tested pod at Runpod: `python -m deploy.runpod_pod IMAGE`.

Set RUNPOD_API_KEY to the key of your account, and ENDPOINT_API_KEY to one of your own
choice, which the endpoint then asks for.
The pod is deleted after the test, or once anything fails; --keep lets it run.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import click

API = "https://rest.runpod.io/v1"
PROXY = "https://{}-8000.proxy.runpod.net"
KEYS = ("RUNPOD_API_KEY", "ENDPOINT_API_KEY")
PAUSE, ATTEMPTS = 2.0, 5  # seconds between attempts to find and delete a pod


class RunpodError(click.ClickException):
    """Runpod's error in a sentence, without the keys; status 0 is no response."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        for name in KEYS:
            text = text.replace(os.environ[name], "...")
        sentence = f"Runpod answers with status {status}: {text.strip()[:200]}"
        if status in (401, 403):
            sentence = "Runpod refuses RUNPOD_API_KEY: it needs write permission."
        if "no instances" in text:
            sentence = "Runpod has none of these GPUs now: try others with --gpu."
        super().__init__(sentence)


def call(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Send a request to Runpod; return its JSON, or raise RunpodError."""
    headers = {"Authorization": f"Bearer {os.environ['RUNPOD_API_KEY']}"}
    # Cloudflare, which Runpod is behind, refuses the User-Agent of urllib.
    headers |= {"Content-Type": "application/json", "User-Agent": "gpu-endpoint"}
    data = json.dumps(body).encode() if body else None
    request = Request(API + path, data, headers, method=method)
    try:
        with urlopen(request, timeout=60) as response:
            return json.loads(response.read() or "null")
    except HTTPError as error:
        raise RunpodError(error.code, error.read().decode(errors="replace")) from None
    except (OSError, HTTPException, ValueError) as error:
        raise RunpodError(0, str(error)) from None


def create(name: str, image: str, gpus: tuple[str, ...], volume: int) -> str:
    """Create a pod with one GPU; return its id."""
    environment = {"ENDPOINT_API_KEY": os.environ["ENDPOINT_API_KEY"]}
    environment |= {"ENDPOINT_DEVICE": "cuda"}  # without a GPU the start fails
    pod: dict[str, Any] = {"name": name, "imageName": image, "gpuTypeIds": gpus}
    pod |= {"ports": ["8000/http"], "containerDiskInGb": 10, "env": environment}
    pod |= {"allowedCudaVersions": ["13.0"], "volumeInGb": volume}
    if volume:
        environment["HF_HOME"] = pod["volumeMountPath"] = "/workspace"
    try:
        return str(call("POST", "/pods", pod)["id"])
    except BaseException as error:
        if not 400 <= getattr(error, "status", 0) < 500:  # It may run all the same.
            delete(name)
        raise


def delete(name: str) -> None:
    """Find a pod by its name and delete it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # A second Ctrl-C does not leave it.
    for _ in range(ATTEMPTS):
        try:
            for pod in (pod for pod in call("GET", "/pods") if pod["name"] == name):
                call("DELETE", f"/pods/{pod['id']}")
                return click.echo(f"The pod {name} is deleted.")
            problem = None  # A new pod may be missing from the list for a moment.
        except RunpodError as error:
            problem = error
        time.sleep(PAUSE)
    if problem:
        raise click.ClickException(f"Delete the pod {name} yourself. {problem.message}")


@click.command(help=__doc__)
@click.argument("image")
@click.option("--gpu", multiple=True, default=["NVIDIA L4", "NVIDIA RTX A4000"])
@click.option("--volume", default=0, help="GB, for an image without weights.")
@click.option("--wait", default=900.0, help="Seconds until it is ready; 900.")
@click.option("--keep", is_flag=True, help="Let a pod run that passed its test.")
def main(
    image: str, gpu: tuple[str, ...], volume: int, wait: float, keep: bool
) -> None:
    for variable in KEYS:
        if not os.environ.get(variable):
            raise click.ClickException(f"{variable} is not set.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    name, passed = f"endpoint-{secrets.token_hex(4)}", False
    url = PROXY.format(create(name, image, gpu, volume))
    try:
        click.echo(f"{url} is the pod {name}.")
        command = (sys.executable, "-m", "flask", "--app", "endpoint", "smoke", url)
        passed = not subprocess.run([*command, "--wait", f"{wait:g}"]).returncode
    finally:
        if not (passed and keep):
            delete(name)
    sys.exit(not passed)


if __name__ == "__main__":
    main()

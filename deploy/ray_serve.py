"""The Flask app on Ray Serve: `serve run deploy.ray_serve:endpoint`.

Each replica has its own model, queue and batches. Ray distributes requests over the
replicas on all machines, and starts more replicas when the load grows.
"""

import asyncio
import json
import os
from concurrent.futures import ThreadPoolExecutor

import ray
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from starlette.requests import Request
from starlette.responses import Response
from werkzeug.test import Client

QUEUE = int(os.environ.get("ENDPOINT_QUEUE", 64))
REFUSAL = {
    "title": "Service Unavailable",
    "status": 503,
    "detail": "All replicas are full or starting: retry in 5 s.",
}


def read_number(name: str, default: float) -> float:
    return float(os.environ.get(name, default))


@serve.deployment(
    # 0.25 lets four replicas share a GPU.
    ray_actor_options={"num_gpus": read_number("GPUS_PER_REPLICA", 1)},
    max_ongoing_requests=QUEUE,
    max_queued_requests=4 * QUEUE,
    autoscaling_config={
        "min_replicas": int(read_number("MIN_REPLICAS", 1)),
        "max_replicas": int(read_number("MAX_REPLICAS", 8)),
        "target_ongoing_requests": QUEUE / 2,
    },
    health_check_period_s=5,
    graceful_shutdown_timeout_s=read_number("ENDPOINT_DEADLINE", 90) + 10,
)
class Replica:
    async def __init__(self) -> None:
        from endpoint import create_app  # not for Front, which has no model

        if ray.get_runtime_context().get_accelerator_ids()["GPU"]:
            os.environ.setdefault(
                "ENDPOINT_DEVICE", "cuda"
            )  # never use the CPU instead
        self.app = create_app()
        self.threads = ThreadPoolExecutor(QUEUE + 32)
        self.batcher = self.app.extensions["batcher"]
        self.batcher.start()
        while self.batcher.health()[0] == "loading":
            await asyncio.sleep(0.1)

    def check_health(self) -> None:
        state, reason = self.batcher.health()
        if state == "failed":
            raise RuntimeError(reason)

    async def handle(self, request: dict) -> tuple[bytes, int, dict[str, str]]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, self.send, request)

    def send(self, request: dict) -> tuple[bytes, int, dict[str, str]]:
        """Send a request to the app within this process."""
        response = Client(self.app).open(**request)
        return response.data, response.status_code, dict(response.headers)


@serve.deployment(max_ongoing_requests=1000, ray_actor_options={"num_cpus": 0.1})
class Front:
    """HTTP to a replica, and to another one if it died: Ray itself would send a 500."""

    def __init__(self, replicas: serve.handle.DeploymentHandle) -> None:
        self.replicas = replicas

    async def __call__(self, request: Request) -> Response:
        options = {
            "path": request.url.path,
            "method": request.method,
            "query_string": request.url.query,
            "headers": list(request.headers.items()),
            "data": await request.body(),
            "environ_base": {"REMOTE_ADDR": request.client.host},
        }
        for _ in range(2):  # A prediction has no side effects: repeating it is safe.
            try:
                return Response(*await self.replicas.handle.remote(options))
            except RayActorError:
                continue
            except (BackPressureError, DeploymentUnavailableError):
                break
        body, headers = json.dumps(REFUSAL), {"Retry-After": "5"}
        return Response(body, 503, headers, "application/problem+json")


endpoint = Front.bind(Replica.bind())

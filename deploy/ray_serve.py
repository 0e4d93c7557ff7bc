"""The same Flask app on Ray Serve: `serve run deploy.ray_serve:endpoint`.

Each replica has its model, its queue and its batches; Ray spreads requests over the
replicas of all machines and adds some when they fall behind.
"""

import asyncio
import json
import os
from concurrent.futures import ThreadPoolExecutor

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
    "detail": "All replicas are taken or starting: try again in 5 s.",
}


def setting(name: str, default: float) -> float:
    return float(os.environ.get(name, default))


@serve.deployment(
    ray_actor_options={"num_gpus": setting("GPUS_PER_REPLICA", 1)},  # 0.25: four on one
    max_ongoing_requests=QUEUE,
    max_queued_requests=4 * QUEUE,
    autoscaling_config={
        "min_replicas": int(setting("MIN_REPLICAS", 1)),
        "max_replicas": int(setting("MAX_REPLICAS", 8)),
        "target_ongoing_requests": QUEUE / 2,
    },
    health_check_period_s=5,
    graceful_shutdown_timeout_s=setting("ENDPOINT_DEADLINE", 90) + 10,
)
class Replica:
    async def __init__(self) -> None:
        from endpoint import create_app  # Not in Front, which needs no model.

        self.app = create_app()
        self.threads = ThreadPoolExecutor(QUEUE + 32)
        while self.app.extensions["batcher"].health()[0] == "loading":
            await asyncio.sleep(0.1)

    def check_health(self) -> None:
        state, reason = self.app.extensions["batcher"].health()
        if state == "failed":
            raise RuntimeError(reason)

    async def answer(self, request: dict) -> tuple[bytes, int, dict[str, str]]:
        run = asyncio.get_running_loop().run_in_executor
        return await run(self.threads, self.ask, request)

    def ask(self, request: dict) -> tuple[bytes, int, dict[str, str]]:
        answer = Client(self.app).open(**request)
        return answer.data, answer.status_code, dict(answer.headers)


@serve.deployment(max_ongoing_requests=1000, ray_actor_options={"num_cpus": 0.1})
class Front:
    """Ray's own answer for a replica that died is a 500: ask another one instead."""

    def __init__(self, replicas: serve.handle.DeploymentHandle) -> None:
        self.replicas = replicas

    async def __call__(self, request: Request) -> Response:
        plain = {
            "path": request.url.path,
            "method": request.method,
            "query_string": request.url.query,
            "headers": list(request.headers.items()),
            "data": await request.body(),
            "environ_base": {"REMOTE_ADDR": request.client.host},
        }
        for _ in range(2):  # Prediction changes nothing, so asking twice is safe.
            try:
                return Response(*await self.replicas.answer.remote(plain))
            except RayActorError:
                continue
            except (BackPressureError, DeploymentUnavailableError):
                break
        kind = "application/problem+json"
        return Response(json.dumps(REFUSAL), 503, {"Retry-After": "5"}, kind)


endpoint = Front.bind(Replica.bind())

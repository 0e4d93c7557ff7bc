"""Jobs of Runpod's queue to answers of the model: `python -m deploy.runpod_queue`.

The input of a job is the JSON that HTTP accepts, {"image": "<base64>"}, or the URL of a
file, {"url": "https://..."}. Jobs that run at the same time share batches.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import runpod
from werkzeug.test import Client

from gunicorn_worker import cores

cores.limit_threads(cores.count_cores())  # before the endpoint imports torch

from deploy.fetch import FetchError, fetch  # noqa: E402
from endpoint import serve  # noqa: E402

app = serve()
batcher = app.extensions["batcher"]
pool = ThreadPoolExecutor(app.config["QUEUE"])  # a thread for each job, mostly idle


async def handle(job: dict[str, Any]) -> dict[str, Any]:
    """Return the model's answer, or {"error": message}, which fails the job."""
    values = job["input"] if isinstance(job["input"], dict) else {}
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(pool, predict, values, job.get("id", ""))


def predict(values: dict[str, Any], job_id: str) -> dict[str, Any]:
    """Send a job's input to the app as an HTTP request within this process."""
    headers = {"Accept": "application/json", "X-Request-Id": job_id}
    if key := app.config["API_KEY"]:  # Runpod has checked an API key of its own.
        headers["X-API-Key"] = key
    try:
        body = request_body(values)
    except FetchError as error:
        return {"error": str(error)}
    response = Client(app).post("/predict", headers=headers, **body)
    answer: dict[str, Any] = response.get_json(force=True)
    return answer if response.status_code == 200 else {"error": answer["detail"]}


def request_body(values: dict[str, Any]) -> dict[str, Any]:
    """Return a job's input as JSON, or the file at its URL with the other values."""
    if not isinstance(url := values.get("url"), str):
        return {"json": values}
    return {
        "data": fetch(url, app.config["MAX_CONTENT_LENGTH"]),
        "content_type": "application/octet-stream",
        "query_string": {name: values[name] for name in values if name != "url"},
    }


def concurrency(_: int) -> int:
    """Return the number of jobs to accept: a batch that runs and the next one."""
    return min(2 * batcher.runner.max_batch, app.config["QUEUE"])


if __name__ == "__main__":
    # If the model cannot be loaded, the process ends.
    while batcher.health()[0] == "loading":
        time.sleep(0.1)
    runpod.serverless.start({"handler": handle, "concurrency_modifier": concurrency})

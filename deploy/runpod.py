"""Runpod's queue to the same model: `python -m deploy.runpod` in the same image.

A job's input is what JSON over HTTP would be, {"image": "<base64>"}, or it names a
file: {"url": "https://..."}. Jobs that run at once share batches.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import runpod
from werkzeug.test import Client

from deploy.fetch import Refused, fetch
from endpoint import create_app

app = create_app()
worker = app.extensions["batcher"]
pool = ThreadPoolExecutor(app.config["QUEUE"])  # Each holds a job, most of them wait.


async def handler(job: dict[str, Any]) -> dict[str, Any]:
    """Return the model's answer, or {"error": sentence}, which fails the job."""
    given = job["input"] if isinstance(job["input"], dict) else {}
    ask = asyncio.get_running_loop().run_in_executor
    return await ask(pool, answer, given, job.get("id", ""))


def answer(given: dict[str, Any], name: str) -> dict[str, Any]:
    headers = {"Accept": "application/json", "X-Request-Id": name}
    if key := app.config.get("API_KEY"):  # Runpod has checked its own.
        headers["X-API-Key"] = str(key)
    body: dict[str, Any] = {"json": given}
    if isinstance(url := given.get("url"), str):
        values = {field: given[field] for field in given if field != "url"}
        try:
            data = fetch(url, app.config["MAX_CONTENT_LENGTH"])
        except Refused as refusal:
            return {"error": str(refusal)}
        kind = "application/octet-stream"
        body = {"data": data, "content_type": kind, "query_string": values}
    answered = Client(app).post("/predict", headers=headers, **body)
    values = answered.get_json(force=True)
    return values if answered.status_code == 200 else {"error": values["detail"]}


def concurrency(_: int) -> int:
    """Take as many jobs as fill a batch while another runs."""
    return min(2 * worker.max_batch, app.config["QUEUE"])


if __name__ == "__main__":
    while worker.health()[0] == "loading":  # A model that cannot load ends the process.
        time.sleep(0.1)
    runpod.serverless.start({"handler": handler, "concurrency_modifier": concurrency})

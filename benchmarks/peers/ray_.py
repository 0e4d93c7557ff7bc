"""Ray Serve with its batching: `python ray_.py`."""

import os
import time

from captioner import DEVICE, MAX_BATCH, PORT, TIMEOUT, Captioner
from ray import serve

# In a replica, torch uses as many threads as the replica has CPUs.
RESOURCES = {"num_cpus": os.cpu_count(), "num_gpus": int(DEVICE == "cuda")}


@serve.deployment(ray_actor_options=RESOURCES, max_ongoing_requests=1024)
class Captions:
    def __init__(self):
        self.captioner = Captioner()

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.01)
    async def captions(self, pixels):
        return self.captioner.captions(pixels)

    async def __call__(self, request):
        pixels = self.captioner.pixels(await request.body())
        return {"caption": await self.captions(pixels)}


if __name__ == "__main__":
    options = {"host": "127.0.0.1", "port": PORT, "request_timeout_s": TIMEOUT}
    serve.start(http_options=options)
    serve.run(Captions.bind())
    while True:
        time.sleep(60)

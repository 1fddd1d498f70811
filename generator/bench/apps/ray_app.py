"""Ray Serve: a replica for each core, batches of 8 as the rendered projects have them."""

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path

import ray
from common import classify, load, read
from ray import serve
from starlette.responses import JSONResponse

CORES = os.cpu_count()


@serve.deployment(num_replicas=CORES, ray_actor_options={"num_cpus": 1}, max_ongoing_requests=16)
class Classifier:
    """Takes the image as the body."""

    def __init__(self):
        self.network = load()

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.001)
    async def classify(self, bodies):
        """Classify a batch; in a thread, for the replica must go on taking requests."""
        return await asyncio.to_thread(lambda: classify(self.network, [*map(read, bodies)]))

    async def __call__(self, request):
        """Predict for a request."""
        # With its length, which a plain dict would lack.
        return JSONResponse(await self.classify(await request.body()))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:  # sockets need a short path
        ray.init(
            num_cpus=CORES,
            include_dashboard=False,
            _temp_dir=folder,
            runtime_env={"env_vars": {"PYTHONPATH": str(Path.cwd())}},
        )
        serve.start(
            http_options={"host": "127.0.0.1", "port": int(sys.argv[1])},
            logging_config={"enable_access_log": False},
        )
        serve.run(Classifier.bind())
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            signal.pause()
        except KeyboardInterrupt:
            serve.shutdown()
            ray.shutdown()

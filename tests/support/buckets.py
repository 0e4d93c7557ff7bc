"""A server on this machine that speaks S3."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

import pytest

from tests.support.server import free_port


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """Serve s3://bucket, which is empty; give the variables for its clients."""
    moto = pytest.importorskip("moto.server", reason="needs make extras GROUP=browser")
    port = free_port()
    server = moto.ThreadedMotoServer("127.0.0.1", port)
    server.start()
    # Otherwise moto keeps what earlier servers of this process held.
    reset = Request(f"http://127.0.0.1:{port}/moto-api/reset", method="POST")
    urlopen(reset, timeout=10).close()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "key",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        from pyarrow import fs

        url = "s3://bucket?allow_bucket_creation=true"
        fs.FileSystem.from_uri(url)[0].create_dir("bucket")
        yield environment
    server.stop()

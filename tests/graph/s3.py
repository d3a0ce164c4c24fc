"""An S3 server on this machine: moto's, in a process of its own, which ends with whoever started it.

Run as `python -m tests.graph.s3`: prints its port, and serves until its standard input is closed.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUCKET = "bucket"
CLEAN = {
    "AWS_ACCESS_KEY_ID": "AKIATEST",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret-but-looked-for",
    "NO_PROXY": "127.0.0.1",
}


def environment(address: str) -> dict[str, str]:
    """Return the variables that lead to the server at `address`."""
    return {**CLEAN, "AWS_ENDPOINT_URL": address, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}


@contextmanager
def running() -> Iterator[str]:
    """Start a server with one bucket; give its address; stop it."""
    command = [sys.executable, "-m", "tests.graph.s3"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, **pipes) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"


def serve() -> None:
    """Serve until the standard input is closed."""
    from moto.s3.models import s3_backends
    from moto.s3.responses import S3Response
    from moto.server import ThreadedMotoServer

    put_object, one_at_a_time = S3Response.put_object, threading.Lock()

    def atomic_put(response: S3Response) -> object:
        """Look whether there is such an object and write it, as S3 does: nobody comes between. Moto lets others."""
        with one_at_a_time:
            return put_object(response)

    S3Response.put_object = atomic_put
    s3_backends["123456789012"]["aws"].create_bucket(BUCKET, "us-east-1")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    serve()

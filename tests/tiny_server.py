"""A server process for the tiny model: HTTP by uvicorn, gRPC by grpc.aio, both without Ray.

python -m tests.tiny_server FOLDER      # prints {"http": PORT, "grpc": PORT} when it is ready; ends with its stdin
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import grpc
import uvicorn

from serve.access.admission import RequestLimits
from serve.api import Api
from serve.oip.grpc_methods import add_to_server
from serve.oip.grpc_service import GrpcInference
from tests.patience import PATIENCE_S
from tests.tiny_shelf import make_tiny_shelf


class Addresses(NamedTuple):
    """Where a server listens, as host:port."""

    http: str
    grpc: str


@contextmanager
def tiny_server(folder: Path) -> Iterator[Addresses]:
    """Runs one. Raises RuntimeError where it has not ended by itself and well, or has printed a traceback."""
    command = [sys.executable, "-m", "tests.tiny_server", str(folder)]
    root, log = Path(__file__).parents[1], folder / "stderr.txt"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        assert process.stdout is not None
        try:
            ports = json.loads(process.stdout.readline())
            yield Addresses(*(f"127.0.0.1:{ports[name]}" for name in Addresses._fields))
        finally:
            process.communicate()
    said = log.read_text()
    if process.returncode or "Traceback" in said:
        raise RuntimeError(f"the server has ended with {process.returncode}, and said: {said[-4000:]}")


async def _serve(folder: Path) -> None:
    shelf = make_tiny_shelf(folder)
    rpc = grpc.aio.server()
    limits = RequestLimits(timeout_s=PATIENCE_S)  # on a busy machine as well
    add_to_server(GrpcInference(shelf, limits=limits), rpc)
    grpc_port = rpc.add_insecure_port("127.0.0.1:0")
    await rpc.start()
    http = uvicorn.Server(uvicorn.Config(Api(shelf, limits=limits), host="127.0.0.1", port=0, log_level="warning"))
    serving = asyncio.create_task(http.serve())
    while not http.started:
        await asyncio.sleep(0.01)
    http_port = http.servers[0].sockets[0].getsockname()[1]
    print(json.dumps({"http": http_port, "grpc": grpc_port}), flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until who started it is done, or gone
    http.should_exit = True
    await serving
    await rpc.stop(None)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))

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

import grpc
import uvicorn

from serve.api import Api
from serve.oip.grpc_methods import add_to_server
from serve.oip.grpc_service import GrpcInference
from tests.tiny_shelf import make_tiny_shelf


@contextmanager
def tiny_server(folder: Path) -> Iterator[str]:
    """Runs one. Yields its HTTP address, host:port. Raises RuntimeError where it has not ended by itself, and well."""
    command = [sys.executable, "-m", "tests.tiny_server", str(folder)]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"127.0.0.1:{json.loads(process.stdout.readline())['http']}"
        finally:
            process.communicate()
    if process.returncode:
        raise RuntimeError(f"the server has ended with {process.returncode}")


async def _serve(folder: Path) -> None:
    shelf = make_tiny_shelf(folder)
    rpc = grpc.aio.server()
    add_to_server(GrpcInference(shelf), rpc)
    grpc_port = rpc.add_insecure_port("127.0.0.1:0")
    await rpc.start()
    http = uvicorn.Server(uvicorn.Config(Api(shelf), host="127.0.0.1", port=0, log_level="warning"))
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

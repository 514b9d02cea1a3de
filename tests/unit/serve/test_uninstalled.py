"""A node that a job brings the packages' folders to, where no scenerec is installed."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import scenerec
from tests.patience import PATIENCE_S

ASK = """
import asyncio, importlib.metadata, json
import grpc, httpx
from serve.api import Api
from serve.oip.grpc_methods import SERVICE, add_to_server
from serve.oip.grpc_service import GrpcInference
from serve.oip.proto import inference_pb2 as pb
from serve.shelf import Shelf

async def ask():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(Api(Shelf())), base_url="http://node") as client:
        by_http = await client.get("/v2")
    server = grpc.aio.server()
    add_to_server(GrpcInference(Shelf()), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        question, answer = pb.ServerMetadataRequest, pb.ServerMetadataResponse
        call = channel.unary_unary(f"/{SERVICE}/ServerMetadata", question.SerializeToString, answer.FromString)
        by_grpc = await call(question())
    await server.stop(None)
    return by_http.json().get("version"), by_grpc.version

installed = [found.name for found in importlib.metadata.distributions()]
print(json.dumps(["scenerec" in installed, "numpy" in installed, *asyncio.run(ask())]))
"""


@pytest.mark.slow
def test_the_server_knows_its_version_where_no_scenerec_is_installed(tmp_path: Path) -> None:
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "scenerec" not in entry.name:
            (tmp_path / entry.name).symlink_to(entry)
    for package in ("scenerec", "serve"):
        (tmp_path / package).symlink_to(Path(scenerec.__file__).parents[1] / package)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    # -S: without the site packages, where the installed scenerec is.
    done = subprocess.run(
        [sys.executable, "-S", "-c", ASK],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    version = scenerec.__version__
    assert json.loads(done.stdout.splitlines()[-1]) == [False, True, version, version]

"""Applications on a real cluster: deployed by the command line, asked by real clients, disturbed under load.

The tests share one application and change it in turn: they build on each other, in the order of the file.
"""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import grpc
import numpy as np
import pytest
import requests
import tritonclient.grpc as by_grpc
import tritonclient.http as by_http
from tritonclient.utils import InferenceServerException

from cluster import loopback
from cluster.local import LocalCluster
from cluster.state import load_state
from scenerec.client import Client, EndpointError, UnauthorizedError
from scenerec.inference.bundles.registry import Registry
from serve.access.key_file import add_key
from serve.oip.grpc_methods import SERVICE
from tests.patience import PATIENCE_S, wait_until
from tests.served import (
    PICTURES,
    as_many,
    asked_pids,
    assert_loopback_only,
    command,
    replica_pids,
    scenerec,
    status_when,
)
from tests.steady_load import SteadyLoad, SteadyRpcLoad
from tests.tiny_bundle import make_tiny_bundle

REGISTRY = "s3://scenes/serve-models"
KEYS = "s3://scenes/serve-keys.yaml"
PORTS = loopback.free_ports(("http", "grpc"))
URL = f"http://127.0.0.1:{PORTS['http']}"
CONFIG = f"""\
kind: serve
name: tiny
registry: {REGISTRY}
models:
  - name: tiny
    version: tiny@production
http: {{port: {PORTS["http"]}, grpc_port: {PORTS["grpc"]}, timeout_s: 40}}
scale: {{min_replicas: 2, max_replicas: 2}}
rollout: {{poll_s: 0.5}}
"""


def version_served() -> str:
    answer = requests.post(f"{URL}/v1/models/tiny:predict", data=PICTURES["red"], timeout=PATIENCE_S)
    return answer.json().get("version", "")


@pytest.fixture(scope="module")
def registry(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Versions 1 and 2 answer their golden images, 3 does not; production stands at 1."""
    folder = tmp_path_factory.mktemp("bundles")
    registry = Registry(REGISTRY)
    registry.push(make_tiny_bundle(folder / "1"), "tiny")
    registry.push(make_tiny_bundle(folder / "2", scale=0.1), "tiny")
    registry.push(make_tiny_bundle(folder / "3", scale=0.2, answered=0.4), "tiny")
    registry.move("tiny", "production", 1, "test", None)
    return registry


@pytest.fixture(scope="module")
def config(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("config") / "serve.yaml"
    file.write_text(CONFIG)
    return file


@pytest.fixture(scope="module")
def deployed(config: Path) -> Iterator[str]:
    """What `serve deploy` printed; ended after the file's tests, for it takes both CPUs."""
    yield scenerec("serve", "deploy", str(config))
    command("serve", "stop", "tiny")


@pytest.mark.parametrize(
    ("overrides", "code", "message"),
    [
        (["models=[{name: tiny, version: tiny@staging}]"], 9, "tiny has no alias staging"),
        (["models=[{name: tiny, version: other}]"], 9, "no model other"),
        (["scale.cpus_per_replica=64"], 2, "scale: a replica of 64 CPUs"),
        ([f"http.api_keys={KEYS}.missing"], 2, "scenerec serve key NAME --file"),
        (["htp.port=1"], 2, "htp: unknown key"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_starts(
    config: Path, overrides: list[str], code: int, message: str
) -> None:
    settings = [part for override in overrides for part in ("--set", override)]
    assert message in command("serve", "deploy", str(config), *settings, code=code)


@pytest.mark.parametrize("field", ["port", "grpc_port"])
def test_a_port_that_another_program_has_is_refused_with_its_name(config: Path, field: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = command("serve", "deploy", str(config), "--set", f"http.{field}={port}", code=7)
    assert f"http.{field}: {port}: " in said
    assert f"(process {os.getpid()}) listens there already" in said and f"--set http.{field}=" in said


def test_nothing_has_started(config: Path) -> None:
    assert "no application" in command("serve", "status", "tiny", code=7)


def test_deploying_ends_with_the_address_and_what_is_served(deployed: str) -> None:
    assert f"tiny  RUNNING  {URL}  replicas: 2 running" in deployed
    assert "serves tiny:1" in deployed


def test_another_port_than_that_of_the_endpoint_is_refused(deployed: str, config: Path) -> None:
    said = command("serve", "deploy", str(config), "--set", "http.port=1", code=7)
    assert f"http.port: 1: the endpoint of this cluster has {PORTS['http']}" in said


def test_nothing_listens_beyond_loopback(deployed: str, cluster: LocalCluster) -> None:
    """Neither Ray's servers, nor those of the proxy, the replicas and the roll-out."""
    assert_loopback_only(cluster, "gcs_server", "raylet", "haproxy", "ray::ProxyActor", "ray::ServeReplica")


def test_our_client_is_answered(deployed: str) -> None:
    with Client(URL) as client:
        for label, content in PICTURES.items():
            prediction = client.predict("tiny", content)
            assert (prediction.classes[0].label, prediction.version) == (label, "1")
        assert client.ready()
    answer = requests.get(f"{URL}/healthz", headers={"x-request-id": "abc"}, timeout=PATIENCE_S)
    assert answer.headers["x-request-id"] == "abc"  # once


def test_tritonclient_is_answered_by_http_and_grpc(deployed: str, registry: Registry) -> None:
    golden = registry.open(registry.version("tiny", 1)).golden
    for module, port in ((by_http, PORTS["http"]), (by_grpc, PORTS["grpc"])):
        client = module.InferenceServerClient(f"127.0.0.1:{port}")
        assert client.is_server_ready() and client.is_model_ready("tiny")
        images = module.InferInput("images", list(golden.images.shape), "UINT8")
        images.set_data_from_numpy(golden.images)
        found = client.infer("tiny", [images]).as_numpy("logits")
        np.testing.assert_allclose(found, golden.logits, rtol=1e-5)
        assert client.get_model_config("tiny") and client.get_model_repository_index()
        assert client.get_inference_statistics("tiny")
        client.close()


def test_streams_and_what_there_is_not_come_through_the_proxy(deployed: str, registry: Registry) -> None:
    golden = registry.open(registry.version("tiny", 1)).golden
    arrived: Queue[tuple[Any, Any]] = Queue()
    with by_grpc.InferenceServerClient(f"127.0.0.1:{PORTS['grpc']}") as client:
        images = by_grpc.InferInput("images", list(golden.images.shape), "UINT8")
        images.set_data_from_numpy(golden.images)
        client.start_stream(lambda result, error: arrived.put((result, error)))
        for model in ("tiny", "other", "tiny"):
            client.async_stream_infer(model, [images])
        client.stop_stream()
        answers = [arrived.get_nowait() for _ in range(3)]
        for result, error in (answers[0], answers[2]):
            assert error is None
            np.testing.assert_allclose(result.as_numpy("logits"), golden.logits, rtol=1e-5)
        assert "no model 'other' is served" in answers[1][1].message()
        with pytest.raises(InferenceServerException, match="send the tensor itself") as refused:
            client.get_cuda_shared_memory_status()
        assert refused.value.status() == "StatusCode.UNIMPLEMENTED"
    with grpc.insecure_channel(f"127.0.0.1:{PORTS['grpc']}") as channel, pytest.raises(grpc.RpcError) as odd:
        channel.unary_unary(f"/{SERVICE}/ModelInfer")(b"\xff\xff", timeout=PATIENCE_S)
    assert odd.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_killed_replica_loses_no_request(deployed: str, cluster: LocalCluster, protocol: str) -> None:
    # Larger than HTTP/2 sends at once, and within the proxy's buffer.
    long = {label: content + bytes(200_000) for label, content in PICTURES.items()}
    address = f"127.0.0.1:{PORTS['grpc']}"
    with SteadyRpcLoad(address, "tiny", long) if protocol == "grpc" else SteadyLoad(URL, "tiny", long) as load:
        wait_until(lambda: load.tally.answered > 20)
        killed, _ = as_many(2, lambda: asked_pids(cluster, "tiny"))
        os.kill(killed, signal.SIGKILL)
        before = load.tally.answered
        wait_until(lambda: len(set(asked_pids(cluster, "tiny")) - {killed}) == 2)
        wait_until(lambda: load.tally.answered > before + 20)
    assert load.tally.lost == []


def no_longer_answers(load: SteadyLoad, version: str) -> bool:
    """Whether a hundred answers in a row, of all replicas, are other versions'."""
    before, answered = load.tally.right[version], load.tally.answered
    wait_until(lambda: load.tally.answered > answered + 100)
    return load.tally.right[version] == before


def test_a_promoted_version_comes_into_service_and_no_request_is_lost(deployed: str, registry: Registry) -> None:
    with SteadyLoad(URL, "tiny", PICTURES) as load:
        wait_until(lambda: load.tally.right["1"] > 0)
        registry.move("tiny", "production", 2, "test", 1)
        wait_until(lambda: load.tally.right["2"] > 50)
        wait_until(lambda: no_longer_answers(load, "1"), "that both replicas have moved")
    assert load.tally.lost == []


def test_a_version_that_fails_its_golden_images_never_answers_and_status_says_why(
    deployed: str, registry: Registry
) -> None:
    with SteadyLoad(URL, "tiny", PICTURES) as load:
        registry.move("tiny", "production", 3, "test", 2)
        told = status_when("tiny", lambda told: told["models"].get("tiny", {}).get("refused", "") != "")
    assert load.tally.lost == []
    assert load.tally.right.keys() == {"2"}
    assert "does not answer its golden images" in told["models"]["tiny"]["refused"]
    registry.move("tiny", "production", 2, "test", 3)
    status_when("tiny", lambda told: told["models"]["tiny"]["refused"] == "")


def test_while_the_store_is_away_requests_are_answered(
    deployed: str, cluster: LocalCluster, registry: Registry
) -> None:
    state = load_state(cluster.home)
    assert state is not None
    store = state.services["store"].pid
    os.kill(store, signal.SIGSTOP)
    try:
        with SteadyLoad(URL, "tiny", PICTURES) as load:
            time.sleep(6)  # the roll-out looks several times, and finds no store
            answered = load.tally.answered
            wait_until(lambda: load.tally.answered > answered + 50)
    finally:
        os.kill(store, signal.SIGCONT)
    assert load.tally.lost == []
    registry.move("tiny", "production", 1, "test", 2)
    wait_until(lambda: version_served() == "1")


def test_it_is_scaled_at_once_and_loses_nothing(deployed: str, cluster: LocalCluster) -> None:
    """Processes that stay are not touched, and looking and scaling are no jobs."""
    jobs, before = command("list", "--json"), as_many(2, lambda: replica_pids(cluster, "tiny"))
    with SteadyLoad(URL, "tiny", PICTURES, connections=1) as load:
        assert f"  {URL}  replicas: " in command("serve", "scale", "tiny", "--replicas", "1")
        (stayed,) = as_many(1, lambda: replica_pids(cluster, "tiny"))
        command("serve", "scale", "tiny", "--replicas", "2")
        after = as_many(2, lambda: replica_pids(cluster, "tiny"))
    assert load.tally.lost == []
    assert stayed in before and stayed in after
    assert "must not be less than min_replicas" in command("serve", "scale", "tiny", "--max", "1", "--min", "2", code=2)
    assert "no application other" in command("serve", "scale", "other", "--max", "1", code=7)
    assert command("list", "--json") == jobs


def test_keys_are_asked_for_and_a_new_one_is_known_without_a_restart(
    deployed: str, config: Path, cluster: LocalCluster
) -> None:
    first = add_key(KEYS, "first", None, 20)
    command("serve", "deploy", str(config), "--set", f"http.api_keys={KEYS}", "--set", "scale.min_replicas=1")
    pids = replica_pids(cluster, "tiny")

    def is_refused() -> bool:
        with Client(URL, retries=0) as client:
            try:
                client.predict("tiny", PICTURES["red"])
            except EndpointError as error:
                return isinstance(error, UnauthorizedError)
        return False

    wait_until(is_refused, "that the proxy asks none of the replicas that knew no keys")
    with Client(URL, api_key=first) as client:
        assert client.predict("tiny", PICTURES["red"]).classes[0].label == "red"
    second = add_key(KEYS, "second", None, 20)

    def is_known() -> bool:
        headers = {"x-api-key": second}
        return requests.get(f"{URL}/v1/models", headers=headers, timeout=PATIENCE_S).status_code == 200

    wait_until(is_known)
    assert set(replica_pids(cluster, "tiny")) & set(pids)


def test_it_grows_under_load_goes_to_nothing_when_idle_and_comes_back(
    deployed: str, config: Path, cluster: LocalCluster
) -> None:
    scale = {
        "min_replicas": 0,
        "max_replicas": 2,
        "target_ongoing_requests": 1,
        "upscale_delay_s": 1,
        "downscale_delay_s": 3,
    }
    settings = [part for key, value in scale.items() for part in ("--set", f"scale.{key}={value}")]
    command("serve", "deploy", str(config), *settings)
    with SteadyLoad(URL, "tiny", PICTURES, connections=8) as load:
        wait_until(lambda: len(replica_pids(cluster, "tiny")) == 2)
    assert load.tally.lost == []
    wait_until(lambda: len(replica_pids(cluster, "tiny")) == 0)
    answer = requests.post(f"{URL}/v1/models/tiny:predict", data=PICTURES["blue"], timeout=PATIENCE_S)
    assert answer.json()["predictions"][0]["classes"][0]["label"] == "blue"

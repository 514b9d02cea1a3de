"""What the faults befall: a cluster of machines made of namespaces, its data and runs, and an endpoint under load."""

import ctypes
import os
import shlex
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from cluster.address import find_address
from cluster.client import ClusterClient
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.data.synthetic import draw_scenes
from scenerec.errors import ClusterError
from scenerec.inference.bundles.registry import Registry
from tests.chaos.plan import STEPS_PER_EPOCH
from tests.faulty_proxy import FaultyProxy
from tests.nodes.datacenter import Datacenter
from tests.nodes.machines import ROOT, Machine, MachineError, Switch
from tests.served import PICTURES
from tests.steady_load import SteadyLoad
from tests.tiny_bundle import make_tiny_bundle

NODES = 3
FEWEST_NODES = 2
"""Fewer have no room for the run's two workers and the deployment's two replicas."""
CPUS_PER_NODE = 3
"""A worker takes two of them, so that no node has two workers, and leaves one for a replica."""
BATCH = 8
RUNS = "s3://scenes/runs"
_SCENES = "s3://scenes/chaos"
_REGISTRY = "s3://scenes/models"
_CLASSES = 4
_SETTLES_S = 65
"""After so long a node whose cable was healed is either given up by Ray's head, or will not be: five times 13 s."""
_CLONE_NEWNET = 0x40000000


class Scene:
    """The machines, the way to the store, and the client of the cluster, whose place this process takes."""

    def __init__(self, datacenter: Datacenter, door: FaultyProxy) -> None:
        self.datacenter = datacenter
        self.door = door
        """What stands before the store: all requests to it come this way."""
        self.client = ClusterClient(find_address())

    @property
    def nodes(self) -> list[Machine]:
        """Those that train and serve."""
        return self.datacenter.nodes[:NODES]

    def start_node(self, machine: Machine) -> None:
        """Lets a machine join the cluster; one that is off is switched on.

        Ray gives a node 30 s to start, which a busy machine exceeds: then it is tried again.
        """
        for is_last in (False, False, True):
            if not machine.is_on:
                machine.boot()
            # Threads that wait do not spin: several machines share a processor here.
            settings = {**_serving_settings(machine), "OMP_WAIT_POLICY": "PASSIVE"}
            try:
                self.datacenter.start_ray(machine, CPUS_PER_NODE, settings)
                return
            except MachineError:
                if is_last:
                    raise
                machine.kill()

    def plug_in(self, machine: Machine) -> None:
        """Heals a machine's cable. Where Ray's head has given the node up meanwhile, it is started again."""
        machine.heal()
        settled_s = time.monotonic() + _SETTLES_S
        while time.monotonic() < settled_s:
            time.sleep(1)
            with suppress(ClusterError):
                if all(node.address != machine.address for node in self.client.nodes()):
                    machine.kill()
                    self.start_node(machine)
                    return


@contextmanager
def open_scene(folder: Path) -> Iterator[Scene]:
    """Boots the machines and starts the cluster and the store; all is gone when it is left.

    This process takes the client's place in the network, for good. Its `s3://` and its cluster are those of the scene.

    Args:
        folder: for the machines' disks and logs.
    """
    with Switch(folder) as switch:
        datacenter = Datacenter(switch, folder)
        for machine in (datacenter.store, datacenter.client, datacenter.head):
            machine.boot()
        _enter_network(datacenter.client)
        datacenter.start_store()
        with FaultyProxy(datacenter.store_url, datacenter.client.address) as door:
            datacenter.store_environment["AWS_ENDPOINT_URL"] = door.url
            os.environ.update(
                **datacenter.store_environment,
                **datacenter.token_environment,
                RAY_ADDRESS=datacenter.dashboard,
                SCENEREC_HOME=str(folder),
                PYTHONPATH=str(ROOT),
                NO_PROXY="*",
            )
            datacenter.make_bucket()
            datacenter.start_ray(datacenter.head, 0, _serving_settings(datacenter.head))
            scene = Scene(datacenter, door)
            with ThreadPoolExecutor(NODES) as threads:
                list(threads.map(scene.start_node, scene.nodes))
            yield scene


def pack_scenes() -> None:
    """Packs drawn scenes into the store: as many as make STEPS_PER_EPOCH batches."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "images"
        draw_scenes(source, _CLASSES, train_per_class=STEPS_PER_EPOCH * BATCH // _CLASSES, val_per_class=8, size=48)
        pack(PackRequest(source=source, destination=_SCENES, options=PackOptions(shard_mb=0.03)))


def run_document(name: str, framework: str, workers: int | dict[str, int], epochs: int) -> dict[str, Any]:
    """The YAML of a run, but for its name the same for the disturbed one and the undisturbed one."""
    return {
        "kind": "train",
        "name": name,
        "framework": framework,
        "data": {"train": f"{_SCENES}/train", "val": f"{_SCENES}/val", "image_size": 32, "log_samples": True},
        "model": {"arch": "shufflenet_v2_x0_5"},  # learns to the end: without BatchNorm small ones die here
        "optimize": {"epochs": epochs, "global_batch_size": BATCH, "lr": 0.001, "optimizer": "adamw"},
        "scale": {"workers": workers, "cpus_per_worker": CPUS_PER_NODE - 1, "max_restarts": 1000},
        "checkpoint": {"every_steps": 10},
        "output": RUNS,
    }


@contextmanager
def loaded_endpoint(scene: Scene) -> Iterator[SteadyLoad]:
    """Deploys a tiny model in two replicas, and asks it all the time, as a load balancer of all nodes does."""
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(_REGISTRY)
        registry.push(make_tiny_bundle(Path(folder) / "tiny"), "tiny")
        registry.move("tiny", "production", 1, "chaos", None)
    document = {
        "kind": "serve",
        "name": "tiny",
        "registry": _REGISTRY,
        "models": [{"name": "tiny", "version": "tiny@production"}],
        "scale": {"min_replicas": 2, "max_replicas": 2},
    }
    scene.datacenter.client.path("/tmp/home/serve.yaml").write_text(yaml.safe_dump(document))
    deployed = scene.datacenter.scenerec("serve", "deploy", "serve.yaml")
    if deployed.returncode:
        raise SystemExit(f"the deployment fails: {deployed.stdout}{deployed.stderr}")
    head, *others = (f"http://{machine.address}:8000" for machine in (scene.datacenter.head, *scene.nodes))
    with SteadyLoad(head, "tiny", PICTURES, 2, pause_s=0.1, others=others) as load:
        yield load


def _serving_settings(machine: Machine) -> dict[str, str]:
    """What `scenerec cluster serve-env` says on a machine."""
    exports = machine.run("python -m scenerec cluster serve-env", {"PYTHONPATH": str(ROOT)}).stdout
    return dict(word.split("=", 1) for word in shlex.split(exports) if word != "export")


def _enter_network(machine: Machine) -> None:
    """Gives this process, and those that it starts, the network of a machine. Threads that run already stay outside."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/proc/{machine.pid}/ns/net").open() as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter the network of {machine.name}")

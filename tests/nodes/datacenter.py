"""A small data centre of machines made of namespaces: a Ray head, Ray nodes, a store, and a client who types commands.

    with Datacenter.up(folder, nodes=3) as dc:              # head (no CPUs), node1 to node3 (1 CPU each), store, client
        dc.scenerec("data", "show", "s3://scenes/train")    # a command of the client's; CompletedProcess
        job = dc.submit(document)                           # `scenerec submit --verbose`, whose lines are watched
        job.until(r"epoch 2/6 step +4/")                    # the line that has it; JobError where the job ends before
        dc.nodes_of_ranks(job)                              # {0: node1, 1: node2}, as Ray started them last
        dc.node(1).kill(); dc.join(dc.node(1))              # off; and on again, as a new node of Ray's
        dc.stop_store(); dc.start_store()                   # its process ends; it comes back with what it held
        dc.freeze_store(); dc.thaw_store()                  # it hangs; it goes on
        dc.restore(nodes=3)                                 # all is well again, whatever was done
        dc.stop_jobs()                                      # nothing runs any more, whoever has submitted it
        job.wait()                                          # its exit code

`machines.py` says what else can be done to a machine. Ray asks for a token on all of them (`token=False`: none).
All connections are by the addresses of `ADDRESSES`; each machine's own name is 127.0.1.1, as on Debian.
"""

import json
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests.nodes.machines import ROOT, Machine, MachineError, Switch
from tests.nodes.watched_job import WatchedJob

ADDRESSES = {"store": "10.77.0.5", "client": "10.77.0.6", "head": "10.77.0.10"} | {
    f"node{number}": f"10.77.0.{10 + number}" for number in range(1, 9)
}
TOKEN = "0123456789abcdef" * 4
BUCKET = "scenes"
_STORE_S = 60
_RAY_START_S = 150
_KEY, _SECRET = "key", "secret0123456789"


_ALIVE = """
from cluster.address import find_address
from cluster.client import ClusterClient
print(*[node.address for node in ClusterClient(find_address()).nodes()])
"""

_STOP = """
from cluster.address import find_address
from cluster.client import ClusterClient
client = ClusterClient(find_address())
for job in client.jobs():
    if not job.ended:
        print(client.stop(job.id).id)
"""


class Datacenter:
    """The machines, and what runs on them."""

    def __init__(self, switch: Switch, folder: Path, token: bool = True) -> None:
        self.switch, self.folder = switch, folder
        self.machines = {name: switch.machine(name, address) for name, address in ADDRESSES.items()}
        self.dashboard = f"http://{ADDRESSES['head']}:8265"
        self.store_url = f"http://{ADDRESSES['store']}:8333"
        self.store_environment = {
            "AWS_ENDPOINT_URL": self.store_url,
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        self._store_options: tuple[str, ...] = ()
        self.token_environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN} if token else {}

    @classmethod
    @contextmanager
    def up(cls, folder: Path, nodes: int = 3, cpus: int = 1, token: bool = True) -> Iterator["Datacenter"]:
        """Boots head, nodes, store and client, and starts what runs on them; ends all when it is left."""
        with Switch(folder) as switch:
            dc = cls(switch, folder, token)
            for machine in (dc.store, dc.client):
                machine.boot()
            dc.start_store()
            dc.make_bucket()
            dc.join(dc.head, cpus=0)
            with ThreadPoolExecutor(nodes) as threads:
                list(threads.map(partial(dc.join, cpus=cpus), dc.nodes[:nodes]))
            yield dc

    @property
    def head(self) -> Machine:
        return self.machines["head"]

    @property
    def store(self) -> Machine:
        return self.machines["store"]

    @property
    def client(self) -> Machine:
        return self.machines["client"]

    @property
    def nodes(self) -> list[Machine]:
        """node1 to node8, on or off."""
        return [machine for name, machine in self.machines.items() if name.startswith("node")]

    def node(self, number: int) -> Machine:
        """The machine of that number, from 1."""
        return self.machines[f"node{number}"]

    def start_ray(self, machine: Machine, cpus: int = 1, env: Mapping[str, str] | None = None) -> None:
        """`ray start` as an administrator types it, by docs/own-cluster.md and docs/serving.md."""
        head = machine is self.head
        where = "--head --port=6379 --dashboard-host=0.0.0.0" if head else f"--address={self.head.address}:6379"
        sizes = f"--num-cpus={cpus} --num-gpus=0 --object-store-memory=100000000"
        serving = f'eval "$(PYTHONPATH={shlex.quote(str(ROOT))} python -m scenerec cluster serve-env)"'
        # Threads that wait do not spin: the machines share a processor.
        settings = {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        variables = {**self.store_environment, **self.token_environment, **settings, **(env or {})}
        machine.run(f"ulimit -n 65536; {serving}; ray start {where} {sizes}", variables, _RAY_START_S)

    def join(self, machine: Machine, cpus: int = 1, disk_mb: int = 0) -> None:
        """Boots a machine that is off, with a disk of so many megabytes where given, and lets it join the cluster.

        Ray gives a node 30 s to start, which a busy machine exceeds: then it is tried again.
        """
        for is_last in (False, False, True):
            machine.boot(disk_mb)
            try:
                self.start_ray(machine, cpus)
                return
            except MachineError:
                if is_last:
                    raise
                machine.kill()

    def alive_nodes(self) -> set[str]:
        """Addresses of the Ray nodes that the head holds for alive; none where the head does not answer."""
        if not self.head.is_on:
            return set()
        done = self.client.run(f"python -c {shlex.quote(_ALIVE)}", self.client_environment, check=False)
        return set(done.stdout.split())

    def restore(self, nodes: int, cpus: int = 1) -> None:
        """Makes good what has been done to the machines: cables, the store, the head, so many nodes, in that order."""
        for machine in self.machines.values():
            if machine.is_on:
                machine.heal()
        self.thaw_store()
        if self._store_options or not self._store_answers():
            self.stop_store()
            self.start_store()
        alive = self.alive_nodes()
        if self.head.address not in alive:
            self.head.kill()
            self.join(self.head, cpus=0)
            alive = set()
        missing = [node for node in self.nodes[:nodes] if not node.is_on or node.address not in alive]
        for node in missing:
            node.kill()
        with ThreadPoolExecutor(nodes) as threads:
            list(threads.map(partial(self.join, cpus=cpus), missing))

    def stop_jobs(self) -> None:
        """Ends all jobs, as `scenerec stop` does, and the submissions that follow them."""
        self.client.signal("-m scenerec submit", signal.SIGKILL)
        self.python(_STOP)

    def start_store(self, *options: str) -> None:
        """Starts SeaweedFS on its machine, over what it holds, and waits until it answers."""
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "dc", "credentials": [{"accessKey": _KEY, "secretKey": _SECRET}], "actions": actions}
        self.store.path("/tmp/identities.json").write_text(json.dumps({"identities": [identity]}))
        self.store.path("/tmp/data").mkdir(exist_ok=True)
        command = [
            *("weed", "-logtostderr", "server", f"-ip={self.store.address}", f"-ip.bind={self.store.address}"),
            *("-dir=/tmp/data", "-filer", "-s3", "-s3.port=8333", "-s3.config=/tmp/identities.json", "-s3.iam=false"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false", "-master.volumeSizeLimitMB=64"),
            *("-volume.max=0", "-volume.preStopSeconds=0", "-filer.localSocket=/tmp/filer.sock"),
            *("-s3.localSocket=/tmp/s3.sock", *(options or ("-volume.minFreeSpace=100MiB",))),
        ]
        self._store_options = options
        self.store.start(f"exec {shlex.join(command)}", log=self.folder / "store.log")
        deadline_s = time.monotonic() + _STORE_S
        while not self._store_answers():
            if time.monotonic() > deadline_s:
                raise MachineError(f"the store does not start: {self.folder / 'store.log'}")
            time.sleep(0.3)

    def _store_answers(self) -> bool:
        return not self.store.run(f"curl -sf -m 2 {self.store_url}/healthz", check=False).returncode

    def stop_store(self) -> None:
        """Ends the store's process, as SIGKILL does; its machine refuses connections from then on."""
        self.store.signal("weed", signal.SIGKILL)

    def freeze_store(self) -> None:
        """The store accepts connections and answers nothing, until `thaw_store`."""
        self.store.signal("weed", signal.SIGSTOP)

    def thaw_store(self) -> None:
        self.store.signal("weed", signal.SIGCONT)

    def make_bucket(self) -> None:
        self.python(f"import boto3; boto3.client('s3').create_bucket(Bucket={BUCKET!r})")

    def python(self, code: str) -> str:
        """Runs Python on the client, beside the store; returns what it prints."""
        return self.client.run(f"python -c {shlex.quote(code)}", self.client_environment).stdout

    def scenerec(
        self, *arguments: str, env: Mapping[str, str] | None = None, timeout_s: float = 240
    ) -> "subprocess.CompletedProcess[str]":
        """A command of the client's, who has the CLI, the store's variables, the cluster's address and its token."""
        line = shlex.join(["python", "-m", "scenerec", *arguments])
        return self.client.run(line, {**self.client_environment, **(env or {})}, timeout_s, check=False)

    def submit(self, document: Mapping[str, Any], *arguments: str, env: Mapping[str, str] | None = None) -> WatchedJob:
        """`scenerec submit --verbose` of a job's document."""
        file = f"{document['name']}.yaml"
        self.client.path(f"/tmp/home/{file}").write_text(yaml.safe_dump(dict(document)))
        line = shlex.join(["python", "-m", "scenerec", "submit", file, "--verbose", *arguments])
        command = self.client.command(f"exec {line}", {**self.client_environment, **(env or {})})
        return WatchedJob(str(document["name"]), command, self.folder / f"{document['name']}.log")

    def nodes_of_ranks(self, job: WatchedJob) -> dict[int, Machine]:
        """On which machine each rank of the newest worker group runs, as Ray says in the job's log."""
        by_address = {machine.address: machine for machine in self.machines.values()}
        found = {}
        for line in job.lines:
            if said := re.search(r"\(ip=(\S+), pid=\d+\) world_rank=(\d+)", line.text):
                found[int(said[2])] = by_address[said[1]]
        return found

    def history(self, run: str) -> list[dict[str, Any]]:
        """metrics.jsonl of a run of the bucket's folder `runs`, an object an epoch."""
        code = (
            "import boto3; b = boto3.client('s3').get_object(Bucket={!r}, Key={!r})['Body']; print(b.read().decode())"
        )
        lines = self.python(code.format(BUCKET, f"runs/{run}/metrics.jsonl")).splitlines()
        return [json.loads(line) for line in lines if line]

    @property
    def client_environment(self) -> dict[str, str]:
        """What the client's commands find in their environment."""
        address = {"RAY_ADDRESS": self.dashboard, "PYTHONPATH": str(ROOT), "COLUMNS": "160", "PYTHONUNBUFFERED": "1"}
        return {**self.store_environment, **self.token_environment, **address}

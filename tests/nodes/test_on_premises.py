"""cluster/launcher/on-premises.yaml as an administrator uses it: `ray up` by ssh, a job, `ray down`."""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import scenerec
from tests.nodes.datacenter import Datacenter
from tests.nodes.machines import Machine
from tests.nodes.runs import document
from tests.patience import wait_until

ROOT = Path(scenerec.__file__).parents[1]
missing = [program for program in ("sshd", "rsync") if shutil.which(program, path="/usr/sbin:/usr/bin") is None]
pytestmark = [
    pytest.mark.nodes,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(missing), reason="needs sshd and rsync: apt-get install openssh-server rsync"),
]


@pytest.fixture
def machines(dc: Datacenter) -> Iterator[list[Machine]]:
    """Two machines with nothing but a server of ssh, beside those of the data centre."""
    found = [dc.node(7), dc.node(8)]
    for machine in found:
        machine.boot()
        let_in(machine, dc.client)
    yield found
    for machine in found:
        machine.kill()


def let_in(machine: Machine, client: Machine) -> None:
    """Starts sshd, which lets the client's key in as root, whose home is the machine's own disk."""
    for each in (machine, client):
        users = Path("/etc/passwd").read_text().replace(":/root:", ":/tmp/home:", 1)
        each.path("/tmp/passwd").write_text(users)
        each.run("mount --bind /tmp/passwd /etc/passwd")
    client.run("mkdir -p .ssh && (test -f .ssh/id_ed25519 || ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519)")
    key = client.path("/tmp/home/.ssh/id_ed25519.pub").read_text()
    machine.path("/tmp/authorized_keys").write_text(key)
    machine.run("mkdir -p /run/sshd && ssh-keygen -q -t ed25519 -N '' -f /tmp/host_key")
    options = ("HostKey=/tmp/host_key", "AuthorizedKeysFile=/tmp/authorized_keys", "PermitRootLogin=prohibit-password")
    options += ("StrictModes=no", "PidFile=none", "UsePAM=no", f"ListenAddress={machine.address}")
    machine.start(" ".join(["/usr/sbin/sshd", "-D", "-f", "/dev/null", *(f"-o {each}" for each in options)]))


def launcher(machines: list[Machine]) -> dict[str, Any]:
    """The file, for these machines, which reach no index: they have the wheel, and borrow what it depends on."""
    head, worker = machines
    text = (ROOT / "cluster/launcher/on-premises.yaml").read_text()
    text = text.replace("ray start --head", "ray start --head --object-store-memory=100000000")
    text = text.replace("ray start --address", "ray start --num-cpus=1 --object-store-memory=100000000 --address")
    config = yaml.safe_load(text)
    config["provider"] |= {"head_ip": head.address, "worker_ips": [worker.address]}
    config |= {"min_workers": 1, "max_workers": 1}
    config["auth"]["ssh_user"] = "root"
    config["setup_commands"] = [
        f"test -d ~/scenerec || {sys.executable} -m venv --without-pip ~/scenerec",
        f"echo {sysconfig.get_path('purelib')} > ~/scenerec/lib/python3.11/site-packages/borrowed.pth",
        "~/scenerec/bin/python -m pip install -q --no-deps --no-index --force-reinstall ~/dist/scenerec-*.whl",
        "printf '#!/bin/sh\\nexec ~/scenerec/bin/python -m ray.scripts.scripts \"$@\"' > ~/scenerec/bin/ray",
        "chmod +x ~/scenerec/bin/ray",
        config["setup_commands"][-1],
    ]
    return config


def test_a_cluster_is_brought_up_by_ssh_trains_and_is_taken_down(dc: Datacenter, machines: list[Machine]) -> None:
    head, worker = machines
    subprocess.run(["make", "-o", ".venv/.ready", "wheel"], cwd=ROOT, check=True, capture_output=True)
    home = dc.client.path("/tmp/home")
    shutil.copytree(ROOT / "dist", home / "dist")
    variables = {**dc.store_environment, **dc.token_environment, "RAY_USAGE_STATS_ENABLED": "0"}
    (home / "node.env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    (home / "cluster.yaml").write_text(yaml.safe_dump(launcher(machines)))
    address = {"RAY_ADDRESS": f"http://{head.address}:8265"}

    said = dc.client.run("ray up --yes --no-config-cache cluster.yaml", variables, timeout_s=300)
    assert "export RAY_ADDRESS" in said.stdout or "Useful commands" in said.stdout, said.stdout
    job = dc.submit(document("by-ssh", "torch", 1, scale={"workers": 1}), "--no-cluster-check", env=address)
    assert job.wait() == 0, job.tail()
    assert dc.nodes_of_ranks(job) == {0: worker}
    assert len(dc.history("by-ssh")) == 1

    dc.client.run("ray down --yes cluster.yaml", variables, timeout_s=120)
    assert not raylets(head)
    wait_until(lambda: not raylets(worker), "the end of a node without its head")


def raylets(machine: Machine) -> list[str]:
    return [line for line in machine.processes().values() if "/raylet --" in line]

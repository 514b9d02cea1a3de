"""The machines themselves: what they share, and what not."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nodes.machines import ROOT, MachineError, Switch, why_not
from tests.patience import wait_until

LISTEN = "python -c \"import socket; s = socket.create_server(('', 7000)); s.accept(); s.accept()\""
CONNECT = "timeout 2 bash -c '< /dev/tcp/10.77.0.12/7000'"


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[Switch]:
    if reason := why_not():
        pytest.skip(reason)
    with Switch(tmp_path) as switch:
        yield switch


def test_machines_share_a_cable_and_nothing_else(switch: Switch) -> None:
    one, two = switch.machine("node1", "10.77.0.11"), switch.machine("node2", "10.77.0.12")
    one.boot()
    two.boot(disk_mb=8)
    assert one.run("hostname && getent ahosts node1 | head -1").stdout.split()[:2] == ["node1", "127.0.1.1"]
    assert socket.gethostname() != "node1"
    one.run("touch /tmp/here")
    assert two.run("test -e /tmp/here", check=False).returncode == 1
    with pytest.raises(MachineError, match="No space left"):
        two.run("head -c 9000000 /dev/zero > /tmp/full")
    assert not two.processes()


def test_a_machine_is_reached_until_its_cable_is_pulled_or_it_is_off(switch: Switch) -> None:
    one, two = switch.machine("node1", "10.77.0.11"), switch.machine("node2", "10.77.0.12")
    one.boot()
    for _ in range(2):  # the second time after a sudden end
        two.boot()
        two.start(LISTEN)
        one.run(f"until {CONNECT} 2> /dev/null; do sleep 0.1; done")
        two.cut()
        assert one.run(CONNECT, check=False).returncode
        two.heal()
        one.run(f"until {CONNECT} 2> /dev/null; do sleep 0.1; done")
        two.kill(silently=True)
        assert one.run(CONNECT, check=False).returncode


def test_a_machine_can_be_switched_off_though_something_on_it_was_stopped(switch: Switch) -> None:
    machine = switch.machine("node1", "10.77.0.11")
    for number in (signal.SIGSTOP, signal.SIGCONT):
        machine.boot()
        machine.start("exec sleep 1000")
        wait_until(lambda: "sleep 1000" in machine.processes().values())
        machine.signal("sleep", signal.SIGSTOP)
        machine.signal("sleep", number)
        machine.kill()


def test_a_machine_ends_with_the_process_that_has_made_it(tmp_path: Path) -> None:
    if reason := why_not():
        pytest.skip(reason)
    code = (
        "import os, pathlib; from tests.nodes.machines import Switch; "
        f"switch = Switch(pathlib.Path({str(tmp_path)!r})).__enter__(); "
        "machine = switch.machine('node1', '10.77.0.11'); "
        "machine.boot(); machine.start('sleep 1000'); print(machine.pid, flush=True); os._exit(1)"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})
    wait_until(lambda: not Path(f"/proc/{int(made.stdout)}").exists())

"""Machines made of namespaces, on a switch: they share a kernel, and neither network, disk, processes nor hostname.

    with Switch(folder) as switch:
        machine = switch.machine("node1", "10.77.0.11")     # not yet on
        machine.boot()                                      # boot(disk_mb=64) for a small disk; the disk is empty
        machine.run("hostname").stdout                      # as by ssh; raises MachineError where it fails
        machine.start("python server.py", log=path)         # goes on by itself
        machine.processes(), machine.signal("weed", signal.SIGSTOP)
        machine.cut(), machine.heal()                       # its cable; what runs on it does not end
        machine.terminate()                                 # SIGTERM to all that runs on it, as at a shutdown
        machine.kill()                                      # it is off at once; its connections are reset
        machine.kill(silently=True)                         # the same, but nobody is told: a power failure

Only root may. Nothing is left behind, whatever ends the tests: the machines end with the process that has made them,
and with them their namespaces, cables and mounts. The host's own network is untouched: the switch, too, has its
namespace, and several switches never meet. /tmp is each machine's own disk; all else is the host's, to be read.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parents[2]
_INIT = Path(__file__).with_name("machine_init.py")
_PROGRAMS = ("ip", "mount", "nsenter", "unshare")
_BOOT_S = 30


class MachineError(Exception):
    """A machine does not boot, or a command on it fails."""


def why_not() -> str | None:
    """Why no machines can be made here; None where they can."""
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"{', '.join(missing)} not found: apt-get install iproute2 util-linux"
    if os.geteuid():
        return "machines of namespaces need root"
    tried = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "--uts", "--ipc", "true"], check=False)
    return "namespaces are not allowed here, as in a container without privileges" if tried.returncode else None


class Switch:
    """What the machines are plugged into; ends them all when it is left.

    Args:
        folder: for disks and logs of the machines.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.machines: list[Machine] = []

    def __enter__(self) -> "Switch":
        # cat ends when its input is closed, as the machines' first processes do.
        self._holder = subprocess.Popen(
            ["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self._holder.stdin and self._holder.stdout
        self._holder.stdin.write("ready\n")
        self._holder.stdout.readline()
        self.ip("link", "add", "bridge", "type", "bridge")
        self.ip("link", "set", "bridge", "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for machine in self.machines:
            machine.kill()
        self._holder.kill()
        self._holder.wait()

    def machine(self, name: str, address: str) -> "Machine":
        """A machine that is still off."""
        machine = Machine(self, name, address)
        self.machines.append(machine)
        return machine

    def ip(self, *arguments: str) -> None:
        """Runs `ip` in the switch."""
        command = ["nsenter", "-t", str(self._holder.pid), "--net", "ip", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MachineError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

    def plug(self, name: str, pid: int, address: str) -> None:
        """Lays a cable from the switch to `eth0` of the network of a process, whose IPv4 address will be that.

        A machine that is switched on again has the same card: others go on sending to it for half a minute.
        """
        card = ":".join(["02", "00", *(f"{int(part):02x}" for part in address.split("."))])
        with suppress(MachineError):  # of one that was killed silently the kernel keeps network and cable for minutes
            self.ip("link", "del", name)
        self.ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "address", card, "netns", str(pid))
        self.ip("link", "set", name, "master", "bridge", "up")


class Machine:
    """One machine of a switch."""

    def __init__(self, switch: Switch, name: str, address: str) -> None:
        self.switch, self.name, self.address = switch, name, address
        self.folder = switch.folder / name
        self._unshare: subprocess.Popen[str] | None = None
        self._init: int | None = None
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    def is_on(self) -> bool:
        return self._init is not None

    @property
    def pid(self) -> int:
        """Id, outside, of the machine's first process."""
        if self._init is None:
            raise MachineError(f"{self.name} is off")
        return self._init

    def boot(self, disk_mb: int = 0) -> None:
        """Switches it on, with an empty disk, of so many megabytes where given; /tmp is the disk, /tmp/home is HOME."""
        if self.is_on:
            raise MachineError(f"{self.name} is on")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        with (self.folder / "boot.log").open("w") as log:
            self._unshare = subprocess.Popen(
                [
                    *("unshare", "--net", "--mount", "--pid", "--fork", "--uts", "--ipc", "--propagation", "private"),
                    *(sys.executable, str(_INIT), self.name, self.address, str(self.folder), str(disk_mb)),
                    *_below_tmp(ROOT, Path(sys.prefix), Path(sys.base_prefix)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self._unshare.stdin and self._unshare.stdout
        self._init = self._only_child(self._unshare.pid)
        self.switch.plug(self.name, self._init, self.address)
        self._unshare.stdin.write("plugged\n")
        self._unshare.stdin.flush()
        if self._unshare.stdout.readline() != "booted\n":
            self.kill()
            raise MachineError(f"{self.name} does not boot: {(self.folder / 'boot.log').read_text()}")

    def kill(self, silently: bool = False) -> None:
        """Switches it off at once. Its peers' connections are reset, or, `silently`, are never told."""
        if self._init is None or self._unshare is None:
            return
        if silently:
            self.cut()
        os.kill(self._init, signal.SIGKILL)
        while self._started:
            self._started.pop().kill()
        self._unshare.communicate()
        self._unshare, self._init = None, None

    def run(
        self, command: str, env: Mapping[str, str] | None = None, timeout_s: float = 120, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Runs a line of bash on it, in HOME, with this environment alone; raises MachineError where it fails."""
        done = subprocess.run(
            self.command(command, env), capture_output=True, text=True, timeout=timeout_s, start_new_session=True
        )
        if check and done.returncode:
            raise MachineError(
                f"{self.name}: {command}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            )
        return done

    def start(self, command: str, env: Mapping[str, str] | None = None, log: Path | None = None) -> None:
        """Starts a line of bash on it that goes on by itself; its output goes to `log`, which lies outside."""
        with (log or Path(os.devnull)).open("a") as output:
            started = subprocess.Popen(
                self.command(command, env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._started.append(started)

    def command(self, command: str, env: Mapping[str, str] | None = None) -> list[str]:
        """The command, outside, that runs a line of bash on it."""
        variables = {"PATH": f"{sys.prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp/home", "LANG": "C.UTF-8"}
        pairs = [f"{name}={value}" for name, value in {**variables, **(env or {})}.items()]
        return [
            *("nsenter", "-t", str(self.pid), "--mount", "--net", "--pid", "--uts", "--ipc", "env", "-i", *pairs),
            *("bash", "-c", f"cd ~ && {command}"),
        ]

    def path(self, inside: str) -> Path:
        """Where a file of the machine lies for the host."""
        return Path(f"/proc/{self.pid}/root{inside}")

    def processes(self) -> dict[int, str]:
        """Command lines of what runs on it, but for its first process, by the id outside."""
        return {pid: line for pid in _in_namespace_of(self.pid) if (line := _command_line(pid))}

    def signal(self, word: str, number: signal.Signals) -> list[int]:
        """Sends a signal to what has the word in its command line; returns the ids."""
        found = [pid for pid, line in self.processes().items() if word in line]
        for pid in found:
            os.kill(pid, number)
        if number == signal.SIGCONT:  # nsenter, outside, stops with what it has started, and then reaps nothing
            for started in self._started:
                started.send_signal(number)
        return found

    def terminate(self) -> None:
        """SIGTERM to all that runs on it, as at a shutdown; it stays on."""
        self.signal("", signal.SIGTERM)

    def cut(self) -> None:
        """Pulls its cable."""
        self.switch.ip("link", "set", self.name, "down")

    def heal(self) -> None:
        """Plugs its cable in again."""
        self.switch.ip("link", "set", self.name, "up")

    def _only_child(self, parent: int) -> int:
        deadline_s = time.monotonic() + _BOOT_S
        while time.monotonic() < deadline_s:
            if children := _children(parent):
                return children[0]
            time.sleep(0.02)
        raise MachineError(f"{self.name} does not boot: {(self.folder / 'boot.log').read_text()}")


def _below_tmp(*paths: Path) -> list[str]:
    """Those that a machine's own /tmp would hide, each once."""
    return sorted({str(path) for path in paths if Path("/tmp") in path.parents})


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _in_namespace_of(pid: int) -> list[int]:
    """The processes in the process namespace of another: not all are its children, for nsenter's come from outside."""
    wanted, found = Path(f"/proc/{pid}/ns/pid").readlink(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int(folder.name) != pid and (folder / "ns/pid").readlink() == wanted:
                found.append(int(folder.name))
    return found


def _command_line(pid: int) -> str:
    """Empty of what has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""

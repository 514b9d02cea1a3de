"""The first process of a machine made of namespaces: `python machine_init.py NAME ADDRESS FOLDER DISK_MB SHARED...`.

It gives the machine its own /tmp, HOME, /dev/shm, /proc, hostname and /etc/hosts, prints `booted`, and reaps what ends.
It ends when its standard input is closed, so that no machine outlives the process that has made it: the kernel then
kills all that runs on it.
"""

import os
import select
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

REAP_EVERY_S = 0.5


def main() -> None:
    name, address, folder, disk_mb, *shared = sys.argv[1:]
    disk, hosts = Path(folder) / "disk", Path(folder) / "hosts"
    disk.mkdir(exist_ok=True)
    mount("--make-rprivate", "/")
    if int(disk_mb):
        mount("-t", "tmpfs", "-o", f"size={disk_mb}m", "tmpfs", str(disk))
    (disk / "home").mkdir(exist_ok=True)
    for path in shared:  # they lie below the old /tmp, which is hidden from now on
        inside = disk / Path(path).relative_to("/tmp")
        inside.mkdir(parents=True, exist_ok=True)
        mount("--bind", path, str(inside))
        mount("-o", "remount,bind,ro", str(inside))
    hosts.write_text(f"127.0.0.1 localhost\n127.0.1.1 {name}\n")  # as Debian's installer writes it
    mount("--bind", str(hosts), "/etc/hosts")
    mount("--rbind", str(disk), "/tmp")
    mount("-t", "tmpfs", "-o", "size=1g", "tmpfs", "/dev/shm")
    mount("-t", "proc", "proc", "/proc")
    socket.sethostname(name)
    os.chdir("/tmp/home")
    sys.stdin.readline()  # eth0 is plugged in
    for line in ("link set lo up", f"addr add {address}/24 dev eth0", "link set eth0 up", "route add default dev eth0"):
        subprocess.run(["ip", *line.split()], check=True)
    print("booted", flush=True)
    while not select.select([sys.stdin], [], [], REAP_EVERY_S)[0]:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


if __name__ == "__main__":
    main()

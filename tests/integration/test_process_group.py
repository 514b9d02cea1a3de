"""A process group of torch between bare processes, as a job's workers make it: where its sockets listen."""

import subprocess
import sys

from cluster import loopback
from tests.patience import PATIENCE_S

CONNECT = """
import sys
import psutil, torch
from jobs.torch_trainer import connect

connect("gloo", "127.0.0.1", int(sys.argv[1]), "127.0.0.1", int(sys.argv[2]), 2)
total = torch.ones(1)
torch.distributed.all_reduce(total)
listening = {each.laddr.ip for each in psutil.Process().net_connections("tcp") if each.status == psutil.CONN_LISTEN}
print(total.item(), *listening)
"""


def test_workers_listen_on_the_address_of_their_node_alone() -> None:
    (port,) = loopback.free_ports(("store",)).values()
    commands = [[sys.executable, "-c", CONNECT, str(port), str(rank)] for rank in range(2)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    assert [worker.communicate(timeout=PATIENCE_S)[0] for worker in workers] == ["2.0 127.0.0.1\n"] * 2

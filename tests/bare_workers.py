"""A run's workers as bare processes of this machine, without Ray."""

import json
import os
import subprocess
import sys
from pathlib import Path

from cluster.loopback import free_ports
from scenerec.config.file import dump_config
from scenerec.config.run import RunConfig
from tests.patience import PATIENCE_S


def run_workers(config: RunConfig, count: int) -> None:
    """The library's loop in `count` processes, to its end."""
    file = Path(config.output) / f"{config.name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(dump_config(config))
    addresses = [f"127.0.0.1:{port}" for port in free_ports(tuple(map(str, range(count)))).values()]
    command = [sys.executable, "-m", "tests.bench.bare_worker", str(file)]
    processes = [
        subprocess.Popen(command, env=_environment(addresses, rank), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for rank in range(count)
    ]
    try:
        printed = [process.communicate(timeout=2 * PATIENCE_S)[0].decode() for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * count, printed[0][-3000:]


def _environment(addresses: list[str], rank: int) -> dict[str, str]:
    host, port = addresses[0].split(":")
    task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
    return {
        **os.environ,
        **{"RANK": str(rank), "WORLD_SIZE": str(len(addresses)), "MASTER_ADDR": host, "MASTER_PORT": port},
        **{"TF_CONFIG": json.dumps(task), "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"},
    }

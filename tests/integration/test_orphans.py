"""What Ray keeps for those that were killed, on a real node: the places of an actor, the reservation of a training."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import local
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]

PROGRAM = """
import json, sys, time
import ray
from ray.util.placement_group import placement_group
from jobs.orphans import remove_orphaned_placement_groups

ray.init(address=sys.argv[1], _node_ip_address="127.0.0.1", log_to_driver=False, logging_level="ERROR")

@ray.remote(num_cpus=0)
class Holder:
    def hold(self):
        self.group = placement_group([{"CPU": 1}])
        return self.group.wait(150)

def free_cpus(wanted, seconds):
    deadline = time.monotonic() + seconds
    while ray.available_resources().get("CPU", 0) != wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    return ray.available_resources().get("CPU", 0)

job = ray.get_runtime_context().get_job_id()
holders = [Holder.remote(), Holder.remote()]
assert all(ray.get([holder.hold.remote() for holder in holders]))
seen = {"held": free_cpus(0, 150), "freed while alive": remove_orphaned_placement_groups(job)}
ray.kill(holders[0])
seen["kept by Ray"] = free_cpus(1, 5)
seen["of another job"] = remove_orphaned_placement_groups("ffffffff")
seen["freed"] = 0
deadline = time.monotonic() + 150
while not seen["freed"] and time.monotonic() < deadline:  # until Ray has noticed that the actor is dead
    time.sleep(0.2)
    seen["freed"] = remove_orphaned_placement_groups(job)
seen["then"] = free_cpus(1, 150)
seen["freed again"] = remove_orphaned_placement_groups(job)
print(json.dumps(seen))
"""


RESERVED = """
import json, sys, time
import ray
from ray.train import ScalingConfig
from jobs.ray_private import autoscaling_coordinator_client, cancel_reservation

ray.init(address=sys.argv[1], _node_ip_address="127.0.0.1", log_to_driver=False, logging_level="ERROR")
trainings = {
    name: autoscaling_coordinator_client.TrainAutoscalingCoordinatorClient(f"train-{name}")
    for name in ("stopped", "other")
}

def reserved_cpus():
    coordinator = trainings["other"]._autoscaling_coordinator
    deadline, cpus = time.monotonic() + 150, [0, 0]
    while sum(cpus) != 2 and time.monotonic() < deadline:  # what a killed training had reserved lapses within a minute
        time.sleep(0.2)
        held = [ray.get(coordinator.get_reserved_resources.remote(f"train-{name}")) for name in trainings]
        cpus = [sum(node["CPU"] for node in nodes.values()) for nodes in held]
    return cpus

for training in trainings.values():
    training.send_resource_request(ScalingConfig(), 2)
seen = [reserved_cpus()]
cancel_reservation("stopped")
seen.append(reserved_cpus())
cancel_reservation("other")
print(json.dumps(seen))
"""


LOST_AT_START = """
import os, sys
from dataclasses import dataclass
from pathlib import Path
import ray
from ray.train import RunConfig, ScalingConfig
from ray.train.backend import Backend, BackendConfig
from jobs.light_trainer import LightTrainer

folder, root, how = sys.argv[2:]
environment = {"env_vars": {"PYTHONPATH": root}}
ray.init(address=sys.argv[1], _node_ip_address="127.0.0.1", runtime_env=environment, logging_level="ERROR")

def miss_another():
    raise ConnectionError("closed by peer")

class LosesOne(Backend):
    def on_start(self, worker_group, backend_config):
        lost = Path(folder) / "lost"
        if not lost.exists():
            lost.touch()
            worker_group.execute_single(1, *((os._exit, 1) if how == "ends" else (miss_another,)))

@dataclass
class Losing(BackendConfig):
    @property
    def backend_cls(self):
        return LosesOne

LightTrainer(
    tell_wait=lambda: None,
    worker_counts=(2,),
    backend_config=Losing(),
    train_loop_per_worker=lambda: (Path(folder) / "trained").touch(),
    scaling_config=ScalingConfig(num_workers=2),
    run_config=RunConfig(name="losing", storage_path=folder),
).fit()
"""


@pytest.mark.parametrize("how", ["ends", "misses another"])
def test_a_training_of_which_a_worker_fails_while_it_starts_has_its_places_again(
    how: str, cluster: local.LocalCluster, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", LOST_AT_START, cluster.ray_address, str(tmp_path), str(ROOT), how]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE_S)
    assert ran.returncode == 0, ran.stderr
    assert {path.name for path in tmp_path.iterdir()} >= {"lost", "trained"}


def test_what_a_stopped_training_had_reserved_is_the_next_ones(cluster: local.LocalCluster) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", RESERVED, cluster.ray_address], capture_output=True, text=True, timeout=2 * PATIENCE_S
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == [[2, 0], [0, 2]]


def test_what_a_dead_actor_held_is_free_again_and_what_a_living_one_holds_is_not(cluster: local.LocalCluster) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, cluster.ray_address], capture_output=True, text=True, timeout=2 * PATIENCE_S
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == {
        "held": 0,
        "freed while alive": 0,
        "kept by Ray": 0,
        "of another job": 0,
        "freed": 1,
        "then": 1,
        "freed again": 0,
    }

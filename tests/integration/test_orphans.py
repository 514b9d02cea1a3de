"""Places of an actor that was killed, on a real Ray node: Ray keeps them for the job, the search gives them back."""

import json
import subprocess
import sys

from cluster import local
from tests.patience import PATIENCE_S

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
seen["freed"] = remove_orphaned_placement_groups(job)
seen["then"] = free_cpus(1, 150)
seen["freed again"] = remove_orphaned_placement_groups(job)
print(json.dumps(seen))
"""


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

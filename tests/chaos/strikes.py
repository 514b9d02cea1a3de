"""How each fault is done to the scene, and how what it took is given back."""

import signal
import time
from collections.abc import Callable, Sequence

from tests.chaos.plan import Strike
from tests.chaos.scene import Scene
from tests.faulty_proxy import Fault
from tests.nodes.machines import Machine, MachineError

GiveBack = Callable[[], None]

WORKER, REPLICA, PROXY, DRIVER = "RayTrainWorker", ":Replica", "bin/haproxy ", "jobs.train"
"""Words in the command lines of the processes that are killed."""

_NOTICE_S = 10.0
"""From SIGTERM to the end of a node that is pre-empted; clouds give 30 to 120 s."""

_APPEARS_S = 120.0


def befall(scene: Scene, strike: Strike, address: str | None) -> GiveBack:
    """Lets a fault happen.

    Args:
        scene: to which.
        strike: which.
        address: of the node on which the strike's rank runs; None where it runs nowhere.

    Returns:
        What gives back what the fault took. It is to be called when `strike.lasts_s` have passed.
    """
    nodes = [node for node in scene.nodes if node.is_on]
    node = next((node for node in nodes if node.address == address), nodes[strike.rank % len(nodes)])
    return FAULTS[strike.kind.name](scene, node)


def _kill_worker(scene: Scene, node: Machine) -> GiveBack:
    return _kill([node, *scene.nodes], WORKER)


def _kill_driver(scene: Scene, node: Machine) -> GiveBack:
    return _kill([scene.datacenter.head], DRIVER)


def _kill_replica(scene: Scene, node: Machine) -> GiveBack:
    return _kill([node, *scene.nodes], REPLICA)


def _kill_proxy(scene: Scene, node: Machine) -> GiveBack:
    return _kill([scene.datacenter.head], PROXY)


def _kill_node(scene: Scene, node: Machine) -> GiveBack:
    node.kill(silently=True)
    return lambda: scene.start_node(node)


def _cut_cable(scene: Scene, node: Machine) -> GiveBack:
    node.cut()
    return lambda: scene.plug_in(node)


def _preempt_node(scene: Scene, node: Machine) -> GiveBack:
    node.signal(WORKER, signal.SIGTERM)
    time.sleep(_NOTICE_S)
    node.kill(silently=True)
    return lambda: scene.start_node(node)


def _resize(scene: Scene, node: Machine) -> GiveBack:
    node.run("ray stop")
    return lambda: scene.start_node(node)


def _store_away(scene: Scene, node: Machine) -> GiveBack:
    scene.door.leave()
    return scene.door.come_back


def _store_answers(fault: Fault) -> Callable[[Scene, Machine], GiveBack]:
    def befall_store(scene: Scene, node: Machine) -> GiveBack:
        scene.door.fault = fault
        return lambda: setattr(scene.door, "fault", None)

    return befall_store


def _kill(machines: Sequence[Machine], word: str) -> GiveBack:
    """Kills what has the word in its command line on the first machine that has such a process; waits for one."""
    ends_at = time.monotonic() + _APPEARS_S
    while not any(machine.is_on and machine.signal(word, signal.SIGKILL) for machine in machines):
        if time.monotonic() > ends_at:
            raise MachineError(f"no process `{word}` on {', '.join(machine.name for machine in machines)}")
        time.sleep(0.2)
    return lambda: None


FAULTS: dict[str, Callable[[Scene, Machine], GiveBack]] = {
    "kill_worker": _kill_worker,
    "kill_node": _kill_node,
    "cut_cable": _cut_cable,
    "preempt_node": _preempt_node,
    "resize": _resize,
    "kill_driver": _kill_driver,
    "store_away": _store_away,
    "store_errors": _store_answers(Fault(status=503, code="SlowDown")),
    "store_hangs": _store_answers(Fault(hangs=True)),
    "store_slow": _store_answers(Fault(bytes_per_s=20_000)),
    "kill_replica": _kill_replica,
    "kill_proxy": _kill_proxy,
}
"""By the names of `tests.chaos.plan.KINDS`."""

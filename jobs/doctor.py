"""The job of `scenerec cluster doctor`: one actor a node looks at it, without a CPU; the result is what they saw."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.doctor.examine import examine
from cluster.doctor.report import ClusterReport, DoctorRequest, NodeReport
from jobs.main import main
from jobs.nodes import lost_nodes
from scenerec.errors import last_line
from scenerec.json_object import JsonObject

_PATIENCE_S = 60.0  # with a node that does not answer
_LOST = (ray.exceptions.RayActorError, ray.exceptions.ActorUnschedulableError, ray.exceptions.GetTimeoutError)
_SHARE_OF_A_GPU = 0.01  # so that a GPU that nobody has is seen


def run_file(file: str) -> JsonObject:
    """Looks at every node of the cluster, by the request in `file`; returns a ClusterReport."""
    request = DoctorRequest.model_validate_json(Path(file).read_bytes())
    ray.init(log_to_driver=False, logging_level="ERROR")
    alive: list[dict[str, Any]] = [node for node in ray.nodes() if node["Alive"]]
    lost = lost_nodes()
    examiners = [_on_node(node).remote() for node in alive]
    seen = [examiner.examine.remote(node, request.store) for examiner, node in zip(examiners, alive, strict=True)]
    answered, _ = ray.wait(seen, num_returns=len(seen), timeout=_PATIENCE_S)
    reports = [
        _report(examiner, report) if report in answered else None
        for examiner, report in zip(examiners, seen, strict=True)
    ]
    silent = [node for node, report in zip(alive, reports, strict=True) if report is None]
    cluster = ClusterReport(
        nodes=tuple(report for report in reports if report),
        silent=tuple(node["NodeManagerAddress"] for node in silent),
        lost=tuple(lost),
    )
    training = [node for node in _training(alive) if node not in silent]
    if request.all_reduce and training:
        cluster = cluster.model_copy(update=_all_reduce(training))
    return cluster.model_dump(mode="json")


class Examiner:
    """Lives on the node that it looks at."""

    def examine(self, node: dict[str, Any], store: str | None) -> NodeReport:
        """Looks at its node, of which Ray's table says `node`, and at the store from there."""
        report = examine(node["NodeManagerAddress"], str(Path(node["RayletSocketName"]).parents[1]), store)
        resources = node["Resources"]
        return report.model_copy(
            update={
                "ray_gpus": resources.get("GPU", 0),
                "object_store_bytes": int(resources.get("object_store_memory", 0)),
            }
        )

    def now(self) -> float:
        """Returns the node's time, in seconds since 1970."""
        return time.time()

    def free_port(self) -> int:
        """Returns a port that is free on the node."""
        from jobs.ray_private import free_address_and_port

        return free_address_and_port()[1]

    def all_reduce(self, backend: str, address: str, port: int, own_address: str, rank: int, size: int) -> float:
        """Adds up numbers with the other nodes; returns bytes a second."""
        from jobs.torch_all_reduce import measure

        return measure(backend, address, port, own_address, rank, size)


def _on_node(node: dict[str, Any], gpus: float = 0) -> Any:
    """The class of an actor that lives on this node and takes nothing of it but, where it needs one, part of a GPU."""
    affinity = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return ray.remote(num_cpus=0, num_gpus=gpus, scheduling_strategy=affinity)(Examiner)


def _report(examiner: Any, report: "ray.ObjectRef[NodeReport]") -> NodeReport | None:
    """The report of a node, with what its clock is off; None of one that is lost, or falls silent.

    The clock is compared by the middle of a question's way (Cristian, 1989).
    """
    try:
        seen = ray.get(report)
        asked_s = time.time()
        there_s = ray.get(examiner.now.remote(), timeout=_PATIENCE_S)
        answered_s = time.time()
    except _LOST:
        return None
    offset_s = there_s - (asked_s + answered_s) / 2
    return seen.model_copy(update={"clock_offset_s": offset_s, "clock_error_s": (answered_s - asked_s) / 2})


def _training(nodes: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Those on which trainings run: with GPUs where there are any, else with CPUs, which a head may offer none of."""
    with_gpus, with_cpus = ([node for node in nodes if node["Resources"].get(what)] for what in ("GPU", "CPU"))
    return with_gpus or with_cpus or nodes


def _all_reduce(nodes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The fields of a ClusterReport that say how fast one process a node adds up numbers with the others."""
    has_gpus = all(node["Resources"].get("GPU") for node in nodes)
    backend = "nccl" if has_gpus else "gloo"
    examiners = [_on_node(node, _SHARE_OF_A_GPU if has_gpus else 0).remote() for node in nodes]
    addresses = [node["NodeManagerAddress"] for node in nodes]
    try:
        port = ray.get(examiners[0].free_port.remote(), timeout=_PATIENCE_S)
        measured = [
            examiner.all_reduce.remote(backend, addresses[0], port, address, rank, len(nodes))
            for rank, (examiner, address) in enumerate(zip(examiners, addresses, strict=True))
        ]
        speed = min(ray.get(measured, timeout=_PATIENCE_S))
    except ray.exceptions.GetTimeoutError:
        free = ", or no GPU is free" if has_gpus else ""
        return {"all_reduce_error": f"{backend}: the nodes did not find each other within {_PATIENCE_S:g} s{free}"}
    except ray.exceptions.RayError as error:
        return {"all_reduce_error": f"{backend}: {last_line(str(error), type(error).__name__)}"}
    finally:
        for examiner in examiners:
            ray.kill(examiner)
    return {"all_reduce_backend": backend, "all_reduce_bytes_per_s": speed, "all_reduce_nodes": len(nodes)}


if __name__ == "__main__":
    sys.exit(main("jobs.doctor"))

"""What serving costs: CPU-milliseconds of the whole server per image, images/s and latency, ours beside its peers.

A JPEG in, labels out, two cores. The systems run at the same time and are measured in turn, in rounds, at 1, 8 and 32
connections; those that are not measured stand still (SIGSTOP), and Ray's node too. wrk asks, on the same two cores.

The limit, `raw`, is a process a core that decodes, resizes and infers in a loop; beside one connection, one process.
All systems decode and compute with the same code and the same ONNX file, one thread each. The CPU time of a system is
that of all its processes: of Ray's also what its controllers and its dashboard take while nobody asks anything, which
is a column of its own too and is not subtracted.
"""

import argparse
import contextlib
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bench.peers import UnavailableError
from tests.bench.record import append_row
from tests.bench.serving_material import bundle_folder, photographs
from tests.bench.serving_systems import Setting, System, cpu_s, systems
from tests.bench.wrk import Wrk

NAME = "serving"
ARCHITECTURES = ("mobilenet_v3_small", "resnet50")
CONNECTIONS = (1, 8, 32)
PHOTOGRAPHS = 200
_SECONDS_OF = {"mobilenet_v3_small": 1.0, "resnet50": 1.5}  # in multiples of --seconds: enough images
_WARM_UP_S = 0.5
_WARM_UP_CONNECTIONS = 8
_IDLE_S = 2.0


class Figures(NamedTuple):
    """Of one system at one load."""

    images_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms_per_image: float
    idle_ms_per_s: float
    """CPU time while nobody asks."""


Rounds = dict[tuple[str, int], list[Figures]]
"""By name of the system and connections."""

Failures = dict[tuple[str, int], str]
"""Why there is nothing to compare, likewise. A system that fails at one load stays in the race at the others."""

_COLUMNS = {
    "images_per_s": "images/s",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "cpu_ms_per_image": "CPU ms",
    "ratio_images_per_s_to_raw": "images: raw",
    "ratio_cpu": "raw: CPU",
    "idle_cpu_ms_per_s": "idle ms/s",
}
"""Of a row, and what the table calls them. Ratios are 1 where a system is as good as `raw`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(ARCHITECTURES), metavar="ARCH")
    parser.add_argument("--systems", nargs="+", metavar="NAME", help="only these, beside raw")
    parser.add_argument("--connections", nargs="+", type=int, default=list(CONNECTIONS), metavar="N")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=3.0, help="of one measurement; ResNet-50's are longer")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="of JPEG files; by default drawn ones of 21 KB")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "scenerec-bench", metavar="FOLDER")
    parser.add_argument(
        "--peers-folder", type=Path, default=Path("~/.cache/scenerec-bench/peers").expanduser(), metavar="FOLDER"
    )
    parser.add_argument("--no-record", action="store_true", help="write no rows")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # so that nothing is left behind
    images = photographs(PHOTOGRAPHS, options.images)
    print(f"{len(images)} JPEG files of {statistics.mean(map(len, images)) / 1e3:.1f} KB", flush=True)
    for arch in options.models:
        with tempfile.TemporaryDirectory(prefix="scenerec-bench-") as folder:
            setting = Setting(arch, bundle_folder(options.cache, arch), Path(folder), images, options.peers_folder)
            chosen = [
                each for each in systems(setting) if not options.systems or each.name in ("raw", *options.systems)
            ]
            wrk = Wrk(Path(folder), images)
            seconds = options.seconds * _SECONDS_OF.get(arch, 1.0)
            report(arch, chosen, *compare(chosen, wrk, options.connections, options.rounds, seconds), options)


def compare(
    chosen: Sequence[System], wrk: Wrk, connections: Sequence[int], rounds: int, seconds: float
) -> tuple[Rounds, Failures]:
    """Measures them in turn."""
    failed: Failures = {}
    found: Rounds = {}

    def give_up(system: System, loads: Sequence[int], error: Exception) -> None:
        failed.update({(system.name, load): str(error) for load in loads})
        print(f"{system.name} at {', '.join(map(str, loads))}: {error}", file=sys.stderr, flush=True)

    with contextlib.ExitStack() as started:
        for system in chosen:
            started.callback(system.stop)
            try:
                system.start()
                print(f"{system.name} is up", flush=True)
            except UnavailableError as error:
                give_up(system, connections, error)
            finally:
                system.pause()
        for number in range(rounds):
            for system in chosen[number % len(chosen) :] + chosen[: number % len(chosen)]:
                loads = [load for load in connections if (system.name, load) not in failed]
                if not loads:
                    continue
                try:
                    system.resume()
                    idle_ms = idle(system)
                    system.load(wrk, _WARM_UP_CONNECTIONS, _WARM_UP_S)
                    for load in loads:
                        try:
                            figures = measure(system, wrk, load, seconds)._replace(idle_ms_per_s=idle_ms)
                            found.setdefault((system.name, load), []).append(figures)
                        except ValueError as error:
                            give_up(system, [load], error)
                except (ValueError, UnavailableError) as error:
                    give_up(system, loads, error)
                finally:
                    system.pause()
            print(f"round {number + 1} of {rounds} is done", flush=True)
    return found, failed


def measure(system: System, wrk: Wrk, connections: int, seconds: float) -> Figures:
    """One load, and what it cost."""
    before = cpu_s(system.processes())
    load = system.load(wrk, connections, seconds)
    time.sleep(0.02)
    used_ms = used_since(before, system)
    return Figures(load.requests / load.seconds, load.p50_ms, load.p99_ms, used_ms / load.requests, 0.0)


def idle(system: System) -> float:
    """CPU-milliseconds a second while nobody asks."""
    before = cpu_s(system.processes())
    time.sleep(_IDLE_S)
    return used_since(before, system) / _IDLE_S


def used_since(before: dict[int, float], system: System) -> float:
    """CPU-milliseconds, those of processes that have come since included."""
    return 1e3 * sum(now - before.get(pid, 0.0) for pid, now in cpu_s(system.processes()).items())


def report(arch: str, chosen: Sequence[System], found: Rounds, failed: Failures, options: argparse.Namespace) -> None:
    """The table, and a row for each of its lines."""
    head = ("connections", *_COLUMNS.values())
    print(f"\n{arch}\n{'':18}" + "".join(f"{title:>12}" for title in head))
    for connections in options.connections:
        for system in chosen:
            key = (system.name, connections)
            reason = failed.get(key, "") or failed.get(("raw", connections), "")
            row: dict[str, float | str]
            if reason:
                row = dict.fromkeys(_COLUMNS, "")
                print(f"{system.name:18}{connections:>12}  not measured: {reason}")
            else:
                row = summary(found[key], found["raw", connections])
                print(f"{system.name:18}{connections:>12}" + "".join(f"{row[name]:>12.5g}" for name in _COLUMNS))
            if not options.no_record:
                named = {"model": arch, "system": system.name, "connections": connections}
                append_row(NAME, {**named, **row, "failed": reason})
    print(flush=True)


def summary(ours: Sequence[Figures], raw: Sequence[Figures]) -> dict[str, float | str]:
    """_COLUMNS of one system at one load."""
    pairs = list(zip(ours, raw, strict=True))
    middle = Figures(*(statistics.median(values) for values in zip(*ours, strict=True)))
    return {
        "images_per_s": round(middle.images_per_s, 1),
        "p50_ms": round(middle.p50_ms, 2),
        "p99_ms": round(middle.p99_ms, 2),
        "cpu_ms_per_image": round(middle.cpu_ms_per_image, 2),
        "ratio_images_per_s_to_raw": _middle(pairs, lambda one, raw: one.images_per_s / raw.images_per_s),
        "ratio_cpu": _middle(pairs, lambda one, raw: raw.cpu_ms_per_image / one.cpu_ms_per_image),
        "idle_cpu_ms_per_s": round(middle.idle_ms_per_s),
    }


def _middle(pairs: Sequence[tuple[Figures, Figures]], ratio: Callable[[Figures, Figures], float]) -> float:
    """The median over the rounds: both of a pair are of the same one."""
    return round(statistics.median(ratio(one, raw) for one, raw in pairs), 3)


if __name__ == "__main__":
    main()

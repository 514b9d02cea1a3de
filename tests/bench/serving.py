"""What serving costs: CPU-milliseconds of the whole server per image, images/s and latency, ours beside its peers.

A JPEG in, labels out, two cores. The systems run at the same time and are measured in turn, in rounds, at 1, 8 and 32
connections; those that are not measured stand still (SIGSTOP), and Ray's node too. wrk asks, on the same two cores.

The limit, `raw`, is a process a core that decodes, resizes and infers in a loop; beside one connection, one process.
All systems decode and compute with the same code and the same ONNX file, one thread each. The CPU time of a system is
that of all its processes: of Ray's also what its controllers and its dashboard take while nobody asks anything, which
is a column of its own too and is not subtracted.
"""

import argparse
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bench.record import append_row
from tests.bench.serving_material import bundle_folder, photographs
from tests.bench.serving_systems import Setting, System, UnavailableError, cpu_s, systems
from tests.bench.wrk import Wrk

NAME = "serving"
ARCHITECTURES = ("mobilenet_v3_small", "resnet50")
CONNECTIONS = (1, 8, 32)
PHOTOGRAPHS = 200
_SECONDS_OF = {"mobilenet_v3_small": 1.0, "resnet50": 2.5}  # in multiples of --seconds: enough images
_WARM_UP_S = 0.5
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archs", nargs="+", default=list(ARCHITECTURES), metavar="ARCH")
    parser.add_argument("--systems", nargs="+", metavar="NAME", help="only these, beside raw")
    parser.add_argument("--connections", nargs="+", type=int, default=list(CONNECTIONS), metavar="N")
    parser.add_argument("--rounds", type=int, default=5)
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
    for arch in options.archs:
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
) -> tuple[Rounds, dict[str, str]]:
    """Measures them in turn; also returns why some could not be measured, by name."""
    failed: dict[str, str] = {}
    found: Rounds = {}
    started: list[System] = []
    try:
        for system in chosen:
            try:
                started.append(system)
                system.start()
                system.pause()
                print(f"{system.name} is up", flush=True)
            except UnavailableError as error:
                failed[system.name] = str(error)
                print(f"{system.name}: {error}", file=sys.stderr, flush=True)
        for number in range(rounds):
            running = [system for system in started if system.name not in failed]
            for system in running[number % len(running) :] + running[: number % len(running)]:
                try:
                    system.resume()
                    idle_ms = idle(system)
                    system.load(wrk, max(connections), _WARM_UP_S)
                    for count in connections:
                        figures = measure(system, wrk, count, seconds)._replace(idle_ms_per_s=idle_ms)
                        found.setdefault((system.name, count), []).append(figures)
                except (ValueError, UnavailableError) as error:
                    failed[system.name] = str(error)
                    print(f"{system.name}: {error}", file=sys.stderr, flush=True)
                finally:
                    system.pause()
            print(f"round {number + 1} of {rounds} is done", flush=True)
    finally:
        for system in started:
            system.stop()
    return {key: each for key, each in found.items() if key[0] not in failed}, failed


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


def report(
    arch: str, chosen: Sequence[System], found: Rounds, failed: dict[str, str], options: argparse.Namespace
) -> None:
    """The table, and a row for each of its lines. Ratios are 1 where a system is as good as `raw`."""
    head = ("connections", "images/s", "of raw", "p50 ms", "p99 ms", "CPU ms", "raw's part", "idle ms/s")
    print(f"\n{arch}\n{'':18}" + "".join(f"{title:>12}" for title in head))
    for connections in options.connections:
        for system in chosen:
            row = {"model": arch, "system": system.name, "connections": connections}
            if system.name in failed:
                figures = dict.fromkeys(("images_per_s", "p50_ms", "p99_ms", "cpu_ms_per_image"), "")
                row |= {
                    **figures,
                    "ratio_images_per_s_to_raw": "",
                    "ratio_cpu": "",
                    "idle_cpu_ms_per_s": "",
                    "failed": failed[system.name],
                }
                print(f"{system.name:18}{connections:>12}  not measured: {failed[system.name]}")
            else:
                pairs = list(zip(found[system.name, connections], found["raw", connections], strict=False))
                middle = Figures(
                    *(statistics.median(values) for values in zip(*(one for one, _ in pairs), strict=True))
                )
                rate = _middle(pairs, lambda one, raw: one.images_per_s / raw.images_per_s)
                cpu = _middle(pairs, lambda one, raw: raw.cpu_ms_per_image / one.cpu_ms_per_image)
                row |= {
                    "images_per_s": round(middle.images_per_s, 1),
                    "p50_ms": round(middle.p50_ms, 2),
                    "p99_ms": round(middle.p99_ms, 2),
                    "cpu_ms_per_image": round(middle.cpu_ms_per_image, 2),
                    "ratio_images_per_s_to_raw": round(rate, 3),
                    "ratio_cpu": round(cpu, 3),
                    "idle_cpu_ms_per_s": round(middle.idle_ms_per_s),
                    "failed": "",
                }
                figures_text = (middle.images_per_s, rate, middle.p50_ms, middle.p99_ms, middle.cpu_ms_per_image, cpu)
                figures_text = (*figures_text, middle.idle_ms_per_s)
                print(f"{system.name:18}{connections:>12}" + "".join(f"{figure:>12.2f}" for figure in figures_text))
            if not options.no_record:
                append_row(NAME, row)
    print(flush=True)


def _middle(pairs: Sequence[tuple[Figures, Figures]], ratio: Callable[[Figures, Figures], float]) -> float:
    """The median over the rounds: both of a pair are of the same one."""
    return statistics.median(ratio(one, raw) for one, raw in pairs)


if __name__ == "__main__":
    main()

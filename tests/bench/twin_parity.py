"""All chosen architectures, torch against Keras: see `tests.parity`. One row an architecture, the last one measured.

Each is measured in processes of its own, one at a time, under a limit of memory and of time; the ONNX graphs by both
exporters, and XLA, in a second and a third one, since they may fail or take long. Goes on where an earlier run ended:
--again measures anew. timm's others are tried by `tests.bench.timm_twins`.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import psutil

from scenerec.models.zoo import ARCHITECTURES
from tests.bench.record import put_row, put_status, read_rows

NAME = "twin_parity"
VERSIONS = " ".join(f"{package} {version(package)}" for package in ("torch", "tensorflow", "keras"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archs", nargs="+", choices=list(ARCHITECTURES), default=list(ARCHITECTURES), metavar="ARCH")
    parser.add_argument("--again", action="store_true", help="also what these versions have a row for")
    parser.add_argument("--memory-gb", type=float, default=14.0, help="limit of a process")
    parser.add_argument("--limit-s", type=float, default=1800.0, help="limit of a process")
    parser.add_argument("--leave-out", nargs="+", choices=["exports", "xla"], default=[], help="what is not measured")
    parser.add_argument("--measure", choices=list(MEASURES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(MEASURES[options.measure](*options.archs)))
        return
    os.nice(10)
    done = set() if options.again else {row["arch"] for row in read_rows(NAME) if row["versions"] == VERSIONS}
    for arch in sorted(set(options.archs) - done, key=lambda arch: ARCHITECTURES[arch].parameters):
        figures = compare(arch, options)
        put_row(NAME, "arch", figures)
        print(json.dumps(figures), flush=True)
    record_status()
    failed = [row["arch"] for row in read_rows(NAME) if row["arch"] in options.archs and row["result"] != "pass"]
    print(f"{len(options.archs) - len(failed)} of {len(options.archs)} pass", *failed, flush=True)
    sys.exit(bool(failed))


def record_status() -> None:
    """What `scenerec models` shows: the larger difference of eager and graph mode, of all that pass."""
    for row in read_rows(NAME):
        if row["result"] == "pass":
            put_status(row["arch"], twin_difference=max(float(row["logits_eager"]), float(row["logits_graph"])))


def compare(arch: str, options: argparse.Namespace) -> dict[str, Any]:
    """The row of `arch`."""
    parity, exports, xla = (
        Child() if kind in options.leave_out else run_child(kind, arch, options.memory_gb, options.limit_s)
        for kind in MEASURES
    )
    failures = parity.figures.pop("failures", [])
    return {
        "arch": arch,
        "versions": VERSIONS,
        "result": parity.failure or "; ".join(failures[:3]) or exports.failure or "pass",
        **{name: parity.figures.get(name, "") for name in FIGURES},
        "xla": xla.failure or xla.figures.get("xla", ""),
        "seconds": round(parity.seconds, 1),
        "peak_gb": round(parity.peak_bytes / 1e9, 2),
        "xla_seconds": round(xla.seconds, 1),
        "xla_peak_gb": round(xla.peak_bytes / 1e9, 2),
        **{name: exports.failure or exports.figures.get(name, "") for name in EXPORTS},
        "exports_seconds": round(exports.seconds, 1),
        "exports_peak_gb": round(exports.peak_bytes / 1e9, 2),
    }


FIGURES = (
    "image_size",
    "batch",
    "logits64",
    "logits_eager",
    "logits_graph",
    "logits_torch_error",
    "round_trip",
    "parameters",
    "gradient64_error",
    "gradient64_worst",
    "within_rounding",
    "gradient32_twin_error",
    "gradient32_torch_error",
    "gradient32_worst",
    "statistics",
    "statistic_twin_error",
    "statistic_torch_error",
    "statistic_worst",
)
"""Of `measure_parity`. Errors are those of the worst tensor, which is named; `within_rounding` counts the parameters
whose float32 gradient is off by no more than torch's rounding explains."""


def measure_parity(arch: str) -> dict[str, Any]:
    """In the child: everything but XLA."""
    from tests import parity

    size = parity.smallest_telling_size(arch)
    found = parity.measure(arch, size, parity.in_a_fork)
    exact = max(found.exact_gradients, key=lambda name: found.exact_gradients[name])
    figures: dict[str, Any] = {
        "image_size": size,
        "batch": parity.batch_size(size),
        "logits64": f"{found.logits.exact:.1e}",
        "logits_eager": f"{found.logits.eager:.1e}",
        "logits_graph": f"{found.logits.graph:.1e}",
        "logits_torch_error": f"{found.logits.rounding:.1e}",
        "round_trip": "bit-exact" if found.round_trip else "differs",
        "parameters": len(found.exact_gradients),
        "gradient64_error": f"{found.exact_gradients[exact]:.1e}",
        "gradient64_worst": exact,
        "within_rounding": len(found.gradients.twin) - len(found.gradients.beyond),
        "statistics": len(found.statistics.twin),
        "failures": found.failures(),
    }
    for kind, errors in (("gradient32", found.gradients), ("statistic", found.statistics)):
        if worst := errors.worst:
            figures[f"{kind}_worst"] = worst
            figures[f"{kind}_twin_error"] = f"{errors.twin[worst]:.1e}"
            figures[f"{kind}_torch_error"] = f"{errors.torch[worst]:.1e}"
    return figures


def measure_exports(arch: str) -> dict[str, Any]:
    """In the child: the logits' difference over their scale, of the ONNX graph of each exporter in onnxruntime."""
    from tests import parity

    size = parity.smallest_telling_size(arch)
    return {f"onnx_{name}": f"{found:.1e}" for name, found in parity.export_differences(arch, size).items()}


def measure_xla(arch: str) -> dict[str, Any]:
    """In the child: the logits' difference over their scale with `jit_compile`."""
    from tests import parity

    size = parity.smallest_telling_size(arch)
    network = parity.make_network(arch, size)
    twin = parity.make_twin(network, size)
    images = parity.draw_batch(size)[0][: parity.LOGITS_BATCH]
    compiled = parity.twin_logits(twin, images, jit_compile=True)
    return {"xla": f"{parity.difference(compiled, parity.torch_logits(network, images)):.1e}"}


MEASURES = {"parity": measure_parity, "exports": measure_exports, "xla": measure_xla}
EXPORTS = ("onnx_torch", "onnx_tensorflow")


@dataclass
class Child:
    """What became of a process: its figures, or the one line of why there are none."""

    figures: dict[str, Any] = field(default_factory=dict)
    failure: str = ""
    seconds: float = 0.0
    peak_bytes: int = 0


def run_child(kind: str, arch: str, memory_gb: float, limit_s: float) -> Child:
    """Measures in a process of its own; ends it when it takes more memory or time than it may."""
    start = time.monotonic()
    command = [sys.executable, "-m", "tests.bench.twin_parity", "--measure", kind, "--archs", arch]
    # One thread: two that wait for each other are slower than one where others compute as well.
    env = {**os.environ, "OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
    child = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watched, peak, failure = psutil.Process(child.pid), 0, ""
    while child.poll() is None and not failure:
        time.sleep(0.1)
        peak = max(peak, resident_bytes(watched))
        if peak > memory_gb * 1e9:
            failure = f"needs more than {memory_gb:g} GB of memory"
        elif time.monotonic() - start > limit_s:
            failure = f"takes more than {limit_s:g} s"
    if failure:
        with suppress(psutil.NoSuchProcess):  # it may have ended this moment
            for each in (*watched.children(), watched):
                each.kill()
    out, err = child.communicate()
    if not failure and child.returncode:
        failure = err.strip().splitlines()[-1] if err.strip() else f"exit code {child.returncode}"
    figures = {} if failure else json.loads(out.splitlines()[-1])
    return Child(figures, failure, time.monotonic() - start, peak)


def resident_bytes(process: psutil.Process) -> int:
    """With its children; 0 where it has ended."""
    with suppress(psutil.NoSuchProcess):
        return sum(int(each.memory_info().rss) for each in (process, *process.children()))
    return 0


if __name__ == "__main__":
    main()

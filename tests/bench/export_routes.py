"""The article's architectures by both routes to ONNX, torch's exporter and tf2onnx: one row an architecture.

Weights are drawn, no bias zero, so that nothing folds away. Each architecture is measured in a process of its own, one
at a time; the TensorFlow child is under the limits of an export.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from scenerec.models.zoo import ARCHITECTURES
from tests.bench.record import put_row, put_status

NAME = "export_routes"
ARTICLE = (
    "resnet50",
    "resnet101",
    "efficientnet_b0",
    "vit_b_16",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "shufflenet_v2_x1_0",
)
CLASSES = 365
MAX_DIFFERENCE = 1e-4
MAX_PEAK_GB = 4.0
MAX_RATIO = 1.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archs", nargs="+", choices=list(ARCHITECTURES), default=list(ARTICLE), metavar="ARCH")
    parser.add_argument("--timed-s", type=float, default=40.0, help="how long both graphs run in turn")
    parser.add_argument("--limit-s", type=float, default=3600.0, help="limit of a process")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.archs, options.timed_s)))
        return
    os.nice(10)
    failed = []
    for arch in options.archs:
        figures = run_child(arch, options.timed_s, options.limit_s)
        put_row(NAME, "arch", figures)
        if figures["result"] == "pass":
            put_status(arch, onnx_difference=float(figures["torch_difference"]))
        else:
            failed.append(arch)
        print(json.dumps(figures), flush=True)
    print(f"{len(options.archs) - len(failed)} of {len(options.archs)} pass", *failed, flush=True)
    sys.exit(bool(failed))


FIGURES = (
    "image_size",
    *(
        f"{route}_{figure}"
        for route in ("tf2onnx", "torch")
        for figure in ("seconds", "difference", "nodes", "transposes", "ms")
    ),
    "tf2onnx_peak_gb",
    "ratio",
)
"""Of `measure`: the difference is of logits at batch 3 over their scale, the ratio that of times, tf2onnx to torch."""


def run_child(arch: str, timed_s: float, limit_s: float) -> dict[str, Any]:
    """The row of `arch`."""
    command = [sys.executable, "-m", "tests.bench.export_routes", "--measure", "--archs", arch]
    child = subprocess.run([*command, f"--timed-s={timed_s}"], capture_output=True, text=True, timeout=limit_s)
    if child.returncode:
        lines = child.stderr.strip().splitlines() or [f"exit code {child.returncode}"]
        return {"arch": arch, **dict.fromkeys(FIGURES, ""), "result": lines[-1]}
    figures = json.loads(child.stdout.splitlines()[-1])
    return {"arch": arch, **{name: figures[name] for name in FIGURES}, "result": figures["result"]}


def measure(arch: str, timed_s: float) -> dict[str, Any]:
    """In the child: both graphs, cleaned as an export cleans them."""
    import numpy as np
    import torch

    from scenerec.export.conversion import tf_onnx, torch_onnx
    from scenerec.export.graphs import optimize
    from scenerec.export.source import Source
    from scenerec.inference.bundles.info import Preprocessing
    from scenerec.inference.predictors.trained_model import ZooNetwork
    from scenerec.models import torch_model

    size = ARCHITECTURES[arch].image_size
    generator = np.random.default_rng(0)
    network = torch_model.build(arch, CLASSES, seed=0)
    torch_model.load_state(network, draw_state(torch_model.state(network), generator))
    pixels = generator.normal(size=(3, 3, size, size)).astype(np.float32)
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(pixels)).numpy()

    figures: dict[str, Any] = {"image_size": size}
    sessions = {}
    for route in ("tf2onnx", "torch"):
        start = time.monotonic()
        if route == "tf2onnx":
            zoo_network = ZooNetwork(arch, CLASSES, torch_model.state(network))
            preprocessing = Preprocessing(image_size=size, eval_crop_ratio=1)
            graph = tf_onnx.convert(Source(arch, arch, zoo_network, None, ("a",) * CLASSES, preprocessing))
            figures["tf2onnx_peak_gb"] = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9, 2)
        else:
            graph = torch_onnx.convert(network, size)
        graph = optimize.clean(graph)
        figures[f"{route}_seconds"] = round(time.monotonic() - start, 1)
        operators = [node.op_type for node in graph.graph.node]
        figures[f"{route}_nodes"], figures[f"{route}_transposes"] = len(operators), operators.count("Transpose")
        sessions[route] = open_session(graph.SerializeToString())
        (logits,) = sessions[route].run(None, {"pixels": pixels})
        difference = float(np.abs(logits - expected).max() / np.abs(expected).max())
        figures[f"{route}_difference"] = f"{difference:.1e}"
    figures |= time_in_turn(sessions, pixels[:1], timed_s)
    return {**figures, "result": "; ".join(shortfalls(figures)) or "pass"}


def shortfalls(figures: dict[str, Any]) -> Iterator[str]:
    """What does not hold."""
    for route in ("tf2onnx", "torch"):
        if float(figures[f"{route}_difference"]) >= MAX_DIFFERENCE:
            yield f"{route} differs by {figures[f'{route}_difference']}"
    if figures["tf2onnx_peak_gb"] >= MAX_PEAK_GB:
        yield f"tf2onnx takes {figures['tf2onnx_peak_gb']} GB"
    if figures["ratio"] > MAX_RATIO:
        yield f"tf2onnx's graph takes {figures['ratio']} of the time"


def draw_state(state: dict[str, Any], generator: Any) -> dict[str, Any]:
    """As after training in that no bias, mean or head is zero and no variance one; logits keep their scale."""
    import numpy as np

    drawn = {}
    for key, array in state.items():
        if array.ndim == 1 or not array.any():
            noisy = array + generator.normal(scale=0.05, size=array.shape)
            array = (np.abs(noisy) if key.endswith("running_var") else noisy).astype(np.float32)
        drawn[key] = array
    return drawn


def open_session(model: bytes) -> Any:
    """One thread."""
    from scenerec.inference.predictors.onnx_predictor import open_session

    return open_session(model, threads=1)


def time_in_turn(sessions: dict[str, Any], pixels: Any, timed_s: float) -> dict[str, float]:
    """Median milliseconds of each at batch 1, and the median of the ratios of neighbours, which share disturbances."""
    import numpy as np

    names = list(sessions)
    times: dict[str, list[float]] = {name: [] for name in names}
    for session in sessions.values():
        session.run(None, {"pixels": pixels})
    deadline = time.monotonic() + timed_s
    turn = 0
    while time.monotonic() < deadline or turn < 10:
        for name in names if turn % 2 else reversed(names):
            start = time.perf_counter()
            sessions[name].run(None, {"pixels": pixels})
            times[name].append(1e3 * (time.perf_counter() - start))
        turn += 1
    ratio = np.median(np.array(times["tf2onnx"]) / np.array(times["torch"]))
    return {
        **{f"{name}_ms": round(float(np.median(times[name])), 2) for name in names},
        "ratio": round(float(ratio), 3),
    }


if __name__ == "__main__":
    main()

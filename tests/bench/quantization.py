"""int8 against float32 on this machine: every form that the search tries, in onnxruntime and LiteRT, one row each.

A network is ARCH:SIZE, with drawn weights, whose speed alone counts; or ARCH:SIZE:WEIGHTS with trained ones (any file
that `scenerec export` takes), which then are scored on --val. Speeds are those of one thread.

Why MobileNetV3 needs a form of its own (MobileNetV3-small at 224 px, batch 1, onnxruntime 1.32 on a Zen 4 core with
VNNI, milliseconds by its profile):

    float32                 2.25 in all: 1.72 convolutions, with hard-swish fused into them, 0.22 the two dense layers
    int8 everywhere         3.01 in all: 1.45 convolutions, 0.10 dense layers, 1.20 for the 28 hard-swish and
                            hard-sigmoid functions (dequantise, compute, quantise, multiply) and 0.23 for means
      the stem alone        0.34 against 0.19: three input channels leave VNNI's sums of four half empty
      a depthwise 5x5       0.03 to 0.06 against 0.03 to 0.05: nothing to gain
      a 1x1 96 to 576       0.03 against 0.07: here int8 wins
    int8 in large layers    1.19 times as fast as float32: only convolutions and dense layers of 50 000 weights or more

MobileNetV3-large gains 1.3 times from layers of 10 000 weights on. Other runtimes were tried on the same machine:
OpenVINO 2026.4 takes 2.6 ms in float32 and 2.5 to 3.0 ms in int8, whatever is quantised (ResNet-50: 80 ms and 21 ms).
LiteRT takes 2.6 ms in float32; in int8 4.7 ms with an open batch axis and hard-swish as one operator, which XNNPACK
does not take; with one image and hard-swish split up (`tf_lite_worker`) it is faster than float32.

ResNet-50 on a processor without VNNI (a Zen 3 core; milliseconds of the thread, batch 1, random images):

    224 px, drawn weights     float32 94, int8 52: 94 % of it 53 convolutions, 2 % sums, 3 % normalisation
    64 px, trained weights    float32 12.5, int8 5.9 with the one most sensitive convolution in float32

There the convolutions limit it: with all else free int8 would be 1.96 times as fast at 224 px, not 1.85. AVX2 needs
three instructions (products in pairs, sums of pairs, sum) for what VNNI does in one, and 7-bit weights, as pairs of
products overflow else. No form changes that: per channel 1.85, per tensor 1.83, the stem in float32 1.82, large layers
1.6 to 1.7, symmetric 1.6. The 2.5 times that are asked of a processor with VNNI are yet to be measured on one, in
onnxruntime.

onnxruntime-openvino would take the place of onnxruntime (same module, 84 MB, 1.24 against 1.32), for nothing that
MobileNetV3 gains: it is not a dependency.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from scenerec.data.packed_set import PackedSet, open_set
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.synthetic import draw_scenes
from scenerec.export.conversion import torch_onnx
from scenerec.export.graphs import network_graph, optimize
from scenerec.export.quantization import int8_search, tflite_ladder
from scenerec.export.quantization.accuracy_gate import GateError
from scenerec.export.quantization.quantize import has_int8_dot_products
from scenerec.export.reference import open_reference
from scenerec.export.source import Source, Stated, open_source
from scenerec.export.xnnpack_plan import xnnpack_plan
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.bundles.info import BundleInfo, Lineage, Preprocessing
from scenerec.inference.predictors import torch_predictor
from scenerec.inference.predictors.trained_model import ZooNetwork
from scenerec.models import torch_model
from tests.bench.record import put_row

NAME = "quantization"
NETWORKS = ("resnet50:224", "mobilenet_v3_small:224", "mobilenet_v3_large:224")
MIN_SPEEDUP = {"resnet50": 2.5, "mobilenet_v3_small": 1.0, "mobilenet_v3_large": 1.0}
"""Of the int8 form that is taken, in onnxruntime at batch 1, on a processor with VNNI."""

_SPEEDS = {"fp32_ms": "base_ms", "ms": "ms", "speedup": "ratio", "quartile1": "low", "quartile3": "high"}


class Sets(NamedTuple):
    """Packed sets for calibration and accuracy."""

    train: PackedSet
    val: PackedSet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), metavar="ARCH:SIZE[:WEIGHTS]")
    parser.add_argument("--train", help="packed set that trained weights are calibrated on")
    parser.add_argument("--val", help="packed set that trained weights are scored on")
    parser.add_argument("--kind", choices=["static", "dynamic"], default="static")
    parser.add_argument("--no-tflite", action="store_true")
    parser.add_argument("--seconds", type=float, default=3.0, help="that each speed is measured for")
    options = parser.parse_args()
    os.nice(5)
    failed = []
    with tempfile.TemporaryDirectory(prefix="scenerec-bench-") as folder:
        for name in options.networks:
            arch, size, *weights = name.split(":", 2)
            trained = bool(weights)
            sets = Sets(open_set(options.train), open_set(options.val)) if trained else _drawn(Path(folder), int(size))
            source = _trained(arch, int(size), weights[0], sets) if trained else _random(arch, int(size))
            taken = _onnx_rows(source, trained, sets, options.kind, options.seconds)
            if not options.no_tflite:
                _tflite_rows(source, trained, sets, options.seconds)
            if taken <= MIN_SPEEDUP.get(arch, 0.0):
                failed.append(f"{name}: int8 runs at {taken:.2f}x, not more than {MIN_SPEEDUP[arch]:g}x")
    print("\n".join(failed) or "all pass")
    if failed and not has_int8_dot_products():
        print("not judged: this processor has no VNNI, and the speed-ups that are asked for are those of one that has")
        failed = []
    sys.exit(bool(failed))


def _onnx_rows(source: Source, trained: bool, sets: Sets, kind: str, seconds: float) -> float:
    """The speed-up of the form that is taken, at batch 1; 0 where none is."""
    assert isinstance(source.network, ZooNetwork)
    settings = int8_search.Settings(
        kind="dynamic" if kind == "dynamic" else "static",
        max_top1_drop=0.5 if trained else 100.0,
        evaluation_images=10_000 if trained else 8,
        calibration_images=256 if trained else 8,
        seconds=seconds,
        thorough=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        network = torch_onnx.convert(torch_predictor.build(source.network), source.preprocessing.image_size)
        model = network_graph.complete(optimize.clean(network), source.preprocessing)
        network_graph.save(model, Path(folder))
        inputs, outputs = network_graph.contracts(model)
        info = BundleInfo(
            name=source.name,
            labels=source.labels,
            preprocessing=source.preprocessing,
            inputs=inputs,
            outputs=outputs,
            lineage=Lineage(
                framework="torch",
                arch=source.network.arch,
                source=source.address,
                route="torch",
                scenerec="",
                exported_at="",
            ),
        )
        try:
            report = int8_search.quantize_bundle(Bundle(Path(folder), info, source.name), *sets, settings, _say).report
        except GateError as error:
            _say(str(error))
            report = error.report
    _put(source, trained, "onnxruntime", report)
    taken = report.get("taken")
    return taken["speed"][0]["ratio"] if taken else 0.0


def _tflite_rows(source: Source, trained: bool, sets: Sets, seconds: float) -> None:
    reference = open_reference(source)
    settings = tflite_ladder.Settings(256 if trained else 8, 0.5 if trained else 100.0, seconds=seconds)
    for precision, train in (("int8", sets.train), ("fp16", None)):
        try:
            made = tflite_ladder.make(
                source, "int8" if precision == "int8" else "fp16", reference, train, sets.val, settings, _say
            )
            _say(f"{precision}: {xnnpack_plan(made.model)}")
            report = made.report
        except GateError as error:
            _say(str(error))
            report = error.report
        _put(source, trained, "LiteRT", report)


def _say(line: str) -> None:
    print(line, flush=True)


def _put(source: Source, trained: bool, runtime: str, report: dict[str, Any]) -> None:
    taken, fp32 = report.get("taken", {}).get("form"), report["fp32"]
    for trial in report["trials"]:
        speeds: dict[str, object] = {f"{column}_batch{batch}": "" for batch in (1, 8) for column in _SPEEDS}
        for entry in trial["speed"]:
            speeds |= {f"{column}_batch{entry['batch_size']}": f"{entry[key]:.3g}" for column, key in _SPEEDS.items()}
        processor = "" if has_int8_dot_products() else " without VNNI"  # one does not overwrite the other's rows
        row: dict[str, object] = {
            "subject": f"{source.name} {'trained' if trained else 'drawn'}, {runtime}{processor}: {trial['form']}",
            "taken": trial["form"] == taken,
            "images": trial["images"] if trained else "",
            "fp32_top1": f"{fp32['top1']:.4f}" if trained else "",
            "top1": f"{trial['top1']:.4f}" if trained else "",
            "agreement": f"{trial['agreement']:.4f}" if trained else "",
            "snr_db": f"{trial['snr_db']:.1f}" if trained else "",
            "fp32_mb": f"{fp32['size_bytes'] / 1e6:.2f}",
            "mb": f"{trial['size_bytes'] / 1e6:.2f}",
            **speeds,
        }
        put_row(NAME, "subject", row)
        _say(json.dumps(row))


def _random(arch: str, size: int) -> Source:
    labels = tuple(f"class{index}" for index in range(365))
    network = ZooNetwork(arch, len(labels), torch_model.state(torch_model.build(arch, len(labels), seed=0)))
    preprocessing = Preprocessing(image_size=size, eval_crop_ratio=0.875)
    return Source(f"{arch} at {size} px", "drawn weights", network, None, labels, preprocessing)


def _trained(arch: str, size: int, weights: str, sets: Sets) -> Source:
    stated = Stated(name=f"{arch} at {size} px", arch=arch, image_size=size, labels=sets.val.manifest.classes)
    return open_source(weights, stated=stated)


def _drawn(folder: Path, size: int) -> Sets:
    """A few drawn scenes; drawn weights take them all for the same."""
    if not (folder / f"packed{size}").exists():
        draw_scenes(folder / f"images{size}", classes=4, train_per_class=3, val_per_class=2, size=size, seed=0)
        pack(PackRequest(source=folder / f"images{size}", destination=str(folder / f"packed{size}")))
    return Sets(*(open_set(str(folder / f"packed{size}" / part)) for part in ("train", "val")))


if __name__ == "__main__":
    main()

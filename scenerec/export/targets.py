"""Where a model will run, and the settings that suit it: what `scenerec export --target` picks."""

from dataclasses import dataclass
from typing import Literal

from scenerec.errors import ConfigError

_X86 = ("x86_64", "AMD64")
_ARM = ("aarch64", "arm64")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A kind of machine, and what a model for it is like. A new one is an entry in the table below."""

    name: str
    """What `--target` calls the machine."""
    precision: str
    """Export format (see `scenerec.export.formats.table`), unless another is asked for."""
    batch: int | None = None
    """Fixed size of the batch; None leaves it open."""
    activations: Literal["uint8", "int8"] = "uint8"
    """Type of int8 bundles' activations; their weights are int8."""
    per_channel: bool = True
    """Whether int8 bundles' weights have a scale for each channel."""
    offline: bool = False
    """Whether onnxruntime's graph optimisation of a float graph is done here and saved.

    Those in int8 keep their QuantizeLinear and DequantizeLinear: which integers they are fused into (int8 or uint8)
    differs between x86 and ARM.
    """
    providers: tuple[str, ...]
    """Execution providers of onnxruntime in order of preference."""
    why: str
    """Why the settings suit the machine, in a sentence."""
    machines: tuple[str, ...] = ()
    """Processors (as `platform.machine` calls them) that stand for the target: there int8 must be faster than float32.

    On any other the speed is not measured.
    """


ANY = Target(
    name="any",
    precision="fp32",
    providers=("CPUExecutionProvider",),
    why="Plain ONNX operators in float32, which every runtime reads.",
    machines=(*_X86, *_ARM),
)
"""The target of a model that may run anywhere."""

_TABLE = (
    ANY,
    Target(
        name="cpu-x86",
        precision="fp32",
        offline=True,
        providers=("CPUExecutionProvider",),
        why="float32 loses nothing; with --precision int8, VNNI multiplies uint8 activations by int8 weights.",
        machines=_X86,
    ),
    Target(
        name="cpu-arm",
        precision="fp32",
        activations="int8",
        offline=True,
        providers=("XnnpackExecutionProvider", "CPUExecutionProvider"),
        why="float32 for XNNPACK; with --precision int8, the dot-product instructions take int8 on both sides.",
        machines=_ARM,
    ),
    Target(
        name="cuda",
        precision="fp16",
        activations="int8",
        providers=("CUDAExecutionProvider", "CPUExecutionProvider"),
        why="Tensor cores double the speed in fp16; the fusions differ from GPU to GPU, so they are left to the start.",
    ),
    Target(
        name="tensorrt",
        precision="fp16",
        activations="int8",
        providers=("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
        why="TensorRT fuses plain ONNX best itself, and its int8 needs symmetric int8 activations.",
    ),
    Target(
        name="npu",
        precision="int8",
        batch=1,
        per_channel=False,
        providers=("QNNExecutionProvider", "CPUExecutionProvider"),
        why="NPUs (Qualcomm's HTP, Intel's) compute in integers, on shapes that are fixed: one image at a time.",
    ),
    Target(
        name="edge",
        precision="tflite-int8",
        batch=1,
        activations="int8",
        providers=(),
        why="Phones and microcontrollers run TFLite: int8 with a scale for each channel, one image at a time.",
    ),
)

TARGETS: dict[str, Target] = {target.name: target for target in _TABLE}
"""Every target, by name."""


def find_target(name: str) -> Target:
    """Returns the target of this name. Raises ConfigError where there is none."""
    if name not in TARGETS:
        raise ConfigError(f"--target {name}: there are {', '.join(TARGETS)} (see `scenerec export --list-targets`)")
    return TARGETS[name]

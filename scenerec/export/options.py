"""What can be asked of an export beside its source and its destination."""

from dataclasses import dataclass
from typing import Literal

from scenerec.export.conversion.child_process import DEFAULT_LIMITS, ChildLimits
from scenerec.export.targets import ANY, Target

RouteChoice = Literal["auto", "tf2onnx", "twin"]
"""How a TensorFlow network becomes ONNX: by tf2onnx, or its weights through the torch twin; `auto` tries both."""

IMAGES = 64
"""How many images a model is verified on, unless another number is asked for."""


@dataclass(frozen=True)
class Options:
    """How to export."""

    precision: str = "fp32"
    """Name of an export format (see `scenerec.export.formats.table`)."""
    target: Target = ANY
    """Machine that the model is made for."""
    route: RouteChoice = "auto"
    """How a TensorFlow network becomes ONNX."""
    opset: int = 18
    """Version of ONNX's operator set."""
    data: str | None = None
    """Packed set with the images to verify on; by default the run's validation set."""
    images: int = IMAGES
    """How many of these images are taken."""
    limits: ChildLimits = DEFAULT_LIMITS
    """What the process of tf2onnx may take."""
    calibration_data: str | None = None
    """Packed set that int8's ranges are measured on; by default the run's training set."""
    calibration_images: int = 256
    """How many images the ranges are measured on."""
    max_top1_drop: float = 0.5
    """Top-1 accuracy that int8 and TFLite may lose on the whole validation set, in points."""
    thorough: bool = False
    """Whether int8 tries every form; else it takes the first that passes its gates by a wide margin."""

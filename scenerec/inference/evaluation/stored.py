"""Answers of a run's model that earlier evaluations have left in its folder."""

import json
from dataclasses import dataclass

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from scenerec.errors import DataError
from scenerec.inference.evaluation.report import PREDICTIONS_FILE
from scenerec.storage import open_storage


@dataclass(frozen=True)
class StoredAnswers:
    """What a model answered to all images of a set."""

    predictor: str
    """Name of the model: its checkpoint."""
    data: str
    """Address of the packed set."""
    fingerprint: str
    """Fingerprint of the set."""
    crops: int
    """Crops of each image."""
    labels: np.ndarray
    """Labels of the images, int64 [n]."""
    predicted: np.ndarray
    """Class that ranks first for each, int32 [n]."""

    @property
    def top1(self) -> float:
        """Share of the images whose class ranks first."""
        return float((self.predicted == self.labels).mean())


def stored_answers(run_url: str) -> list[StoredAnswers]:
    """Reads what lies in a run's `evaluations/`, one of each set. Raises DataError where it is damaged."""
    storage = open_storage(f"{run_url}/evaluations")
    keys = [info.key for info in storage.list() if info.key.endswith(f"/{PREDICTIONS_FILE}")]
    return [_parse(storage.get(key), f"{storage.url}/{key}") for key in sorted(keys)]


def _parse(content: bytes, where: str) -> StoredAnswers:
    try:
        tensors, about = load_tensors(content), _metadata(content)
        labels, predicted = tensors["labels"], tensors["ranked"][:, 0]
        return StoredAnswers(
            about["predictor"], about["data"], about["fingerprint"], int(about["crops"]), labels, predicted
        )
    except (SafetensorError, KeyError, ValueError, IndexError) as error:
        raise DataError(f"{where}: is damaged: evaluate again ({type(error).__name__})") from None


def _metadata(content: bytes) -> dict[str, str]:
    """The words in a safetensors file's header: a JSON object whose length is in the first eight bytes."""
    length = int.from_bytes(content[:8], "little")
    return dict(json.loads(content[8 : 8 + length])["__metadata__"])

"""Photographs in, names of scenes out: a bundle as a library user calls it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.predictors.open_predictor import CPU, predictor_of
from scenerec.inference.predictors.photograph import Preparer


@dataclass(frozen=True)
class Guess:
    """A class, and how probable the model thinks it."""

    label: str
    """Name of the class."""
    probability: float
    """Probability of the class."""


class Classifier:
    """A bundle that takes encoded photographs.

    Args:
        bundle: from `open_bundle`.
        threads: of the operators; 0 leaves their number to the runtime.
        max_pixels: larger pictures are refused.
        providers: onnxruntime's execution providers in order of preference.

    Raises:
        BundleError: the model does not load.
    """

    def __init__(
        self, bundle: Bundle, threads: int = 0, max_pixels: int = Preparer.max_pixels, providers: tuple[str, ...] = CPU
    ) -> None:
        self.labels = bundle.info.labels
        self.model = predictor_of(bundle, threads, providers)
        self.prepare = Preparer.of(bundle.info.preprocessing, max_pixels)

    def classify(
        self, photographs: Sequence[bytes], top_k: int = 5, coordinates: np.ndarray | None = None
    ) -> list[list[Guess]]:
        """Ranks the `top_k` most probable classes of each JPEG, PNG, WebP, GIF or BMP file, the most probable first.

        `coordinates` are as in `Predictor.logits`. Raises PictureError for one that is not an image, or damaged, or too
        large.
        """
        return [self.rank(probabilities, top_k) for probabilities in self.probabilities(photographs, coordinates)]

    def probabilities(self, photographs: Sequence[bytes], coordinates: np.ndarray | None = None) -> np.ndarray:
        """The probabilities of the classes in encoded photographs, float32 [n, classes]. Raises as `classify` does."""
        return self.model.probabilities(np.stack([self.prepare(content) for content in photographs]), coordinates)

    def embeddings(self, photographs: Sequence[bytes]) -> np.ndarray:
        """What a bundle whose task is `embedding` makes of encoded photographs, float32 [n, features].

        Raises as `classify` does.
        """
        return self.model.logits(np.stack([self.prepare(content) for content in photographs]))

    def given_labels(self, probabilities: np.ndarray) -> list[Guess] | None:
        """The labels that a multi-label model gives an image, at or above their thresholds; None of another model.

        `probabilities` are float32 [classes]. The most probable comes first; there may be none.
        """
        if self.model.task != "multilabel":
            return None
        thresholds = self.model.thresholds(len(self.labels))
        ranked = self.rank_indices(probabilities, len(self.labels))
        return [
            Guess(self.labels[index], float(probabilities[index]))
            for index in ranked
            if probabilities[index] >= thresholds[index]
        ]

    def abstains(self, guesses: Sequence[Guess]) -> bool:
        """Whether the first of an image's guesses is no answer, as the bundle's model is not sure enough of it."""
        threshold = self.model.abstain_below
        return threshold is not None and guesses[0].probability < threshold

    def rank(self, probabilities: np.ndarray, top_k: int) -> list[Guess]:
        """Ranks the `top_k` most probable of float32 probabilities [classes], the lower index first among equals."""
        ranked = self.rank_indices(probabilities, top_k)
        return [Guess(self.labels[index], float(probabilities[index])) for index in ranked]

    @staticmethod
    def rank_indices(probabilities: np.ndarray, top_k: int) -> list[int]:
        """Class indices by falling probability, float32 [classes], the lower index first among equals."""
        return np.argsort(-probabilities, kind="stable")[:top_k].tolist()

"""The gates that a version passes before an alias moves to it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from scenerec.errors import RegistryError
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.evaluation.predictions import ImageBatch, Predictions, predict
from scenerec.inference.evaluation.significance import Comparison, compare
from scenerec.inference.predictors.golden import check_golden
from scenerec.inference.predictors.predictor import Predictor
from scenerec.names import same_names

OpenModel = Callable[[Bundle], Predictor]
"""Opens a bundle's model."""
OpenImages = Callable[[Predictor], Iterable[ImageBatch]]
"""Yields the images that a model is compared on, prepared for it."""


@dataclass(frozen=True)
class Evidence:
    """What the gates of a promotion measured."""

    golden_difference: float
    """Largest difference of the golden images' logits over their scale."""
    comparison: Comparison | None = None
    """Comparison of the candidate (A) with the version that holds the alias (B); None where nothing holds it."""
    top1: tuple[float, float] | None = None
    """Top-1 accuracies of the candidate and of the holder, as fractions."""

    def __str__(self) -> str:
        golden = f"answers its golden images (difference {self.golden_difference:.0e})"
        if self.comparison is None or self.top1 is None:
            return golden
        candidate, holder = self.top1
        images = self.comparison.samples
        return f"{golden}; top-1 {candidate:.2%} against {holder:.2%} before, on the same {images} images"


def check_promotion(
    candidate: Bundle, holder: Bundle | None, open_model: OpenModel, open_images: OpenImages, max_top1_drop: float
) -> Evidence:
    """Passes a candidate through the gates, or raises.

    1. It was verified against its framework when it was exported, and answers its golden images now.
    2. Where another version holds the alias: both have the same labels, and on the same images its top-1 is at most
       `max_top1_drop` points (hundredths) below the holder's.

    Raises RegistryError or BundleError with the figures, and what the models and the images raise.
    """
    if candidate.info.verification is None:
        raise RegistryError(
            f"{candidate.url}: was never verified against its framework: export it with `scenerec export`"
        )
    model = open_model(candidate)
    evidence = Evidence(check_golden(model, candidate))
    if holder is None:
        return evidence
    if not same_names(candidate.info.labels, holder.info.labels):
        raise RegistryError(
            f"{candidate.url}: has other labels than {holder.url}: what calls the alias would read wrong names "
            "(--force overrules)"
        )
    ours, theirs = _answers(model, open_images), _answers(open_model(holder), open_images)
    comparison = compare(ours.labels, ours.predicted, theirs.predicted)
    if comparison.difference * 100 < -max_top1_drop:
        raise RegistryError(
            f"{candidate.url}: top-1 {ours.correct.mean():.2%} is more than {max_top1_drop:g} points below "
            f"{theirs.correct.mean():.2%} of {holder.url}, on the same {comparison.samples} images: not promoted "
            "(--max-top1-drop, --force)"
        )
    return Evidence(evidence.golden_difference, comparison, (float(ours.correct.mean()), float(theirs.correct.mean())))


def _answers(model: Predictor, open_images: OpenImages) -> Predictions:
    return predict(model, open_images(model), first=0, crops=1, keep_logits=False)

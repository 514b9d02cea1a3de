"""The gates that a version passes before an alias moves to it.

Accuracy is judged by McNemar's exact test over the same images, as `scenerec evaluate --compare` does. The candidate is
compared with the alias's baseline: the best version that the gates have let there, not merely the one that stands there
now. So a row of versions, each a little worse than the one before, is stopped where their sum is more than chance.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from scenerec.errors import RegistryError
from scenerec.inference.bundles.bundle import Bundle
from scenerec.inference.evaluation.multilabel_metrics import mean_average_precision
from scenerec.inference.evaluation.multilabel_predictions import predict_labels
from scenerec.inference.evaluation.predictions import ImageBatch, Predictions, predict
from scenerec.inference.evaluation.significance import Comparison, compare
from scenerec.inference.predictors.golden import check_golden
from scenerec.inference.predictors.predictor import Predictor
from scenerec.names import same_names

TOO_MUCH_FOR_CHANCE = 10.0
"""Points of top-1 whose loss no set excuses: what so few images cannot tell from chance is not let through."""

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
    """Comparison of the candidate (A) with the baseline (B); None where there is none."""
    top1: tuple[float, float] | None = None
    """Top-1 accuracies of the candidate and of the baseline, as fractions."""
    label_figures: tuple[float, float, int] | None = None
    """Mean average precisions of a multi-label candidate and of the baseline, and the images; None of others."""

    @property
    def is_best(self) -> bool:
        """Whether the candidate is at least as accurate as the baseline, and so the next one."""
        if self.label_figures:
            return self.label_figures[0] >= self.label_figures[1]
        return self.comparison is None or self.comparison.difference >= 0

    def __str__(self) -> str:
        golden = f"answers its golden images (difference {self.golden_difference:.0e})"
        if self.label_figures:
            return f"{golden}; {_label_figures(*self.label_figures)}"
        if self.comparison is None or self.top1 is None:
            return golden
        return f"{golden}; {_figures(self.comparison, self.top1)}"


def is_worse(comparison: Comparison, max_top1_drop: float) -> bool:
    """Whether A is too much worse than B: by more than `max_top1_drop` points of top-1, and not by chance.

    A loss of more than TOO_MUCH_FOR_CHANCE points counts also where it may be chance.
    """
    lost = 100 * (comparison.only_b - comparison.only_a)  # points times images: whole numbers compare exactly
    too_much = lost > TOO_MUCH_FOR_CHANCE * comparison.samples
    return lost > max_top1_drop * comparison.samples and (too_much or not comparison.may_be_chance)


def check_promotion(
    candidate: Bundle, baseline: Bundle | None, open_model: OpenModel, open_images: OpenImages, max_top1_drop: float
) -> Evidence:
    """Passes a candidate through the gates, or raises.

    1. It was verified against its framework when it was exported, and answers its golden images now.
    2. Where there is a baseline: both have the same labels, and on the same images the candidate is not worse by the
       rule of `is_worse`; of multi-label models, by no more than `max_top1_drop` points of mean average precision. A
       model that gives embeddings follows no other.

    Raises RegistryError or BundleError with the figures, and what the models and the images raise.
    """
    if candidate.info.verification is None:
        raise RegistryError(
            f"{candidate.url}: was never verified against its framework: export it with `scenerec export`"
        )
    model = open_model(candidate)
    evidence = Evidence(check_golden(model, candidate))
    if baseline is None:
        return evidence
    if not same_names(candidate.info.labels, baseline.info.labels):
        raise RegistryError(
            f"{candidate.url}: has other labels than {baseline.url}: what calls the alias would read wrong names "
            "(--force overrules)"
        )
    if candidate.info.task != baseline.info.task:
        raise RegistryError(
            f"{candidate.url}: its task is {candidate.info.task}, and that of {baseline.url} is {baseline.info.task}: "
            "what calls the alias would read its answers wrong (--force overrules)"
        )
    if candidate.info.task == "embedding":
        raise RegistryError(
            f"{candidate.url}: its embeddings are no match for those that {baseline.url} has given, which may be kept "
            "somewhere: give it a name of its own (--force overrules)"
        )
    if candidate.info.task == "multilabel":
        figures = _mean_average_precisions(model, open_model(baseline), open_images)
        if 100 * (figures[1] - figures[0]) > max_top1_drop:
            raise RegistryError(
                f"{candidate.url}: is worse than {baseline.url}: {_label_figures(*figures)}, and at most "
                f"{max_top1_drop:g} points may be lost: not promoted (--max-top1-drop, --force)"
            )
        return Evidence(evidence.golden_difference, label_figures=figures)
    ours, theirs = _answers(model, open_images), _answers(open_model(baseline), open_images)
    comparison = compare(ours.labels, ours.predicted, theirs.predicted)
    top1 = (float(ours.correct.mean()), float(theirs.correct.mean()))
    if is_worse(comparison, max_top1_drop):
        why = (
            f"which {comparison.samples} images cannot tell from chance, and too much to chance it: name a larger set "
            "with --data"
            if comparison.may_be_chance
            else f"and at most {max_top1_drop:g} points may be lost"
        )
        raise RegistryError(
            f"{candidate.url}: is worse than {baseline.url}: {_figures(comparison, top1)}, {why}: not promoted "
            "(--max-top1-drop, --force)"
        )
    return Evidence(evidence.golden_difference, comparison, top1)


def _figures(comparison: Comparison, top1: tuple[float, float]) -> str:
    """Both accuracies, and what their difference is worth."""
    candidate, baseline = top1
    accuracies = f"top-1 {candidate:.2%} against {baseline:.2%} on the same {comparison.samples} images"
    if not comparison.only_a + comparison.only_b:
        return f"{accuracies}, right on the same ones"
    low, high = (100 * bound for bound in comparison.difference_interval)
    difference = f"{100 * comparison.difference:+.2f} points (95 % interval {low:+.2f} to {high:+.2f})"
    return f"{accuracies}: {difference}, {comparison.chance}"


def _mean_average_precisions(
    candidate: Predictor, baseline: Predictor, open_images: OpenImages
) -> tuple[float, float, int]:
    classes = len(candidate.labels)
    ours, theirs = (predict_labels(each, open_images(each), 0, 1, classes) for each in (candidate, baseline))
    return (
        mean_average_precision(ours.logits, ours.labels),
        mean_average_precision(theirs.logits, theirs.labels),
        len(ours.labels),
    )


def _label_figures(candidate: float, baseline: float, images: int) -> str:
    return f"mAP {candidate:.2%} against {baseline:.2%} on the same {images} images"


def _answers(model: Predictor, open_images: OpenImages) -> Predictions:
    return predict(model, open_images(model), first=0, crops=1, keep_logits=False)

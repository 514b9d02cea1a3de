"""What bundle.json says of a model of three classes that was measured, for tests that need it to say so."""

from scenerec.inference.bundles.validation import (
    Abstention,
    ClassCounts,
    LabelValidation,
    MultilabelValidation,
    Reliability,
    Validation,
)


def validation(temperature: float = 1.0, abstain_below: float | None = None) -> Validation:
    """Six of eight images were right; below `abstain_below` the model abstains."""
    rule = None
    if abstain_below is not None:
        rule = Abstention(wished_precision=0.9, threshold=abstain_below, coverage=0.5, precision=0.95)
    return Validation(
        data="/sets/val",
        fingerprint="f" * 64,
        samples=8,
        correct=6,
        top5=1.0,
        unscaled=Reliability(temperature=1.0, loss=2.0, calibration_error=0.3),
        scaled=Reliability(temperature=temperature, loss=1.0, calibration_error=0.1),
        abstention=rule,
        classes=tuple(ClassCounts(samples=n, correct=n - 1 + (n == 2), predicted=n) for n in (3, 3, 2)),
    )


def multilabel_validation(thresholds: tuple[float, ...] = (0.9, 0.9, 0.9)) -> MultilabelValidation:
    """Figures of a multi-label model of as many labels as there are thresholds."""
    return MultilabelValidation(
        data="/sets/val",
        fingerprint="f" * 64,
        samples=8,
        map=0.75,
        f1_micro=0.7,
        f1_macro=0.6,
        loss=0.2,
        labels=tuple(
            LabelValidation(samples=3, average_precision=0.75, threshold=each, precision=0.5, recall=1.0, f1=2 / 3)
            for each in thresholds
        ),
    )

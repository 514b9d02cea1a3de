"""What bundle.json says of how good a model is: what the exported model itself answered on a validation set."""

from pydantic import Field

from scenerec.frozen import Frozen


class ClassCounts(Frozen):
    """How one class was answered."""

    samples: int
    """How many images are of the class."""
    correct: int
    """How many of its images rank the class first."""
    predicted: int
    """How many images of any class rank this class first."""


class Reliability(Frozen):
    """How far probabilities can be taken at their word, at one temperature."""

    temperature: float
    """What the logits are divided by."""
    loss: float
    """Mean negative log-likelihood of the labels, in nats."""
    calibration_error: float
    """Expected calibration error over 15 bins of confidence (Guo et al. 2017, equation 3)."""


class Abstention(Frozen):
    """When the model does not answer, so that what it answers is as good as was wished."""

    wished_precision: float = Field(gt=0, lt=1)
    """Share of the answers that shall be right; other images drawn like these keep it with a probability of 95 %."""
    threshold: float
    """Confidence from which on the model answers: the probability of the class that ranks first."""
    coverage: float
    """Share of the validation images that it answers."""
    precision: float
    """Share of these answers that are right."""


class LabelValidation(Frozen):
    """How one label of a multi-label model was answered, and from which probability on the model gives it."""

    samples: int
    """How many images have the label."""
    average_precision: float | None
    """Average precision of the ranking by its probability; none where no image has it."""
    threshold: float = Field(ge=0, le=1)
    """Probability from which on the label is given: that of the highest F1 on these images."""
    precision: float
    """Share of the images that it is given to that have it, at the threshold."""
    recall: float
    """Share of the images that have it that it is given to, at the threshold."""
    f1: float
    """Harmonic mean of both."""


class MultilabelValidation(Frozen):
    """Answers of an exported multi-label model on images of its validation set."""

    data: str
    """Address of the packed set."""
    fingerprint: str
    """Fingerprint of the set."""
    samples: int
    """How many of the set's images were answered; they are spread over it."""
    map: float | None
    """Mean average precision over the labels that some image has; none where none has any."""
    f1_micro: float
    """F1 over all decisions, at the labels' thresholds."""
    f1_macro: float
    """Mean of the labels' F1, at their thresholds."""
    loss: float
    """Mean binary cross-entropy, in nats."""
    labels: tuple[LabelValidation, ...]
    """How each label was answered, in order of class index."""


class Validation(Frozen):
    """Answers of an exported model on images of its validation set."""

    data: str
    """Address of the packed set."""
    fingerprint: str
    """Fingerprint of the set."""
    samples: int
    """How many of the set's images were answered; they are spread over it."""
    correct: int
    """How many of them rank their label first."""
    top5: float
    """Share of the images whose label is among the first five; with fewer than five classes, all."""
    unscaled: Reliability
    """With the logits as they are, at temperature 1."""
    scaled: Reliability
    """At the temperature that was fitted on these images; the same where none was."""
    abstention: Abstention | None = None
    """When the model does not answer; none where it always does."""
    classes: tuple[ClassCounts, ...]
    """How each class was answered, in order of class index."""

    @property
    def top1(self) -> float:
        """Share of the images whose label ranks first."""
        return self.correct / self.samples

"""Pictures whose labels are likely wrong, in the opinion of somebody who has not learned from them. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from scenerec.data.finding_kinds import Kind
from scenerec.data.quality.confident_learning import doubts, wrong_labels
from scenerec.data.quality.facts import PictureFacts
from scenerec.data.quality.findings import Finding, LikelyLabel, shows_something
from scenerec.data.quality.out_of_fold import out_of_fold_probabilities

LEAST_IMAGES = 5
"""Of a class with fewer pictures nobody can learn how it looks."""

_EXAMPLES = 3
_MOST_DOUBTED = 0.2  # of all labels: real sets have a few wrong ones in a hundred (Northcutt, Athalye, Mueller 2021)


@dataclass(frozen=True)
class Opinion:
    """What somebody takes pictures for, without having learned from their labels."""

    whose: str
    """Who it is, in words."""
    pictures: tuple[PictureFacts, ...]
    classes: tuple[str, ...]
    probabilities: np.ndarray
    """Probabilities of the classes, float [pictures, classes]."""

    def __str__(self) -> str:
        """Who judged how many labels, how well he knows the classes, and whether he is not to be believed."""
        told = f"{len(self.pictures)} labels were judged by {self.whose}, which guess {self.agreement:.0%} of them"
        return told if self.is_believed else f"{told}: too few to doubt any: ask a model that knows them, by --model"

    @property
    def labels(self) -> np.ndarray:
        """Class indices of the pictures' labels, int64 [pictures]."""
        index = {name: place for place, name in enumerate(self.classes)}
        return np.array([index[picture.class_name] for picture in self.pictures], np.int64)

    @property
    def agreement(self) -> float:
        """The share of the pictures whose label is the most probable class."""
        return float((self.probabilities.argmax(axis=1) == self.labels).mean())

    @property
    def is_believed(self) -> bool:
        """Whether so few labels are doubted that these may be wrong, and not who doubts them."""
        return wrong_labels(self.probabilities, self.labels) <= _MOST_DOUBTED * len(self.pictures)


def by_features(whose: str, pictures: Sequence[PictureFacts], features: np.ndarray) -> Opinion:
    """The opinion of classifiers upon `features`, float [pictures, d], each of which has not learned from a tenth."""
    classes = tuple(sorted({picture.class_name for picture in pictures}))
    index = {name: place for place, name in enumerate(classes)}
    labels = np.array([index[picture.class_name] for picture in pictures], np.int64)
    return Opinion(whose, tuple(pictures), classes, out_of_fold_probabilities(features, labels))


def judgeable(pictures: Iterable[PictureFacts]) -> tuple[list[PictureFacts], str]:
    """The pictures whose labels can be doubted, in their order; and in words which others cannot.

    None where fewer than two classes have pictures enough.
    """
    plain = [*filter(shows_something, pictures)]
    counts = Counter(picture.class_name for picture in plain)
    small = {name for name, count in counts.items() if count < LEAST_IMAGES}
    if len(counts) - len(small) < 2:
        few = f"fewer than two classes have {LEAST_IMAGES} pictures" if len(counts) > 1 else "there is one class only"
        return [], f"no label was judged: {few}"
    classes = f"{len(small)} {'class' if len(small) == 1 else 'classes'}"
    why = f"the labels of {classes} of fewer than {LEAST_IMAGES} pictures were not judged" if small else ""
    return [picture for picture in plain if picture.class_name not in small], why


def mislabelled(opinion: Opinion) -> list[Finding]:
    """The pictures that are likely something else than their labels say, the likeliest first.

    None where so many would be that it is rather he who does not know the classes.
    """
    if not opinion.is_believed:
        return []
    labels = opinion.labels
    found = doubts(opinion.probabilities, labels)
    examples = {int(label): _examples(opinion, labels, int(label)) for label in np.unique(found.likely)}
    return [
        _finding(opinion, int(row), int(labels[row]), int(likely), examples[int(likely)])
        for row, likely in zip(found.rows, found.likely, strict=True)
    ]


def _finding(opinion: Opinion, row: int, label: int, likely: int, examples: tuple[str, ...]) -> Finding:
    picture, probabilities = opinion.pictures[row], opinion.probabilities[row]
    found = LikelyLabel(opinion.classes[likely], float(probabilities[likely]), float(probabilities[label]), examples)
    likely_words, label_words = f"likely {found.class_name} ({found.probability:.0%})", f"not {picture.class_name}"
    detail = f"{likely_words}, {label_words} ({found.label_probability:.0%})"
    rank = found.label_probability - found.probability
    return Finding(Kind.MISLABELLED, picture.path, picture.split, picture.class_name, detail, rank=rank, likely=found)


def _examples(opinion: Opinion, labels: np.ndarray, label: int) -> tuple[str, ...]:
    """Some pictures that are what their labels say: those for which this is most probable."""
    rows = np.flatnonzero(labels == label)
    surest = rows[np.argsort(-opinion.probabilities[rows, label], kind="stable")[:_EXAMPLES]]
    return tuple(opinion.pictures[row].path for row in surest)

"""What a picture of a data set may be suspected of."""

from enum import StrEnum


class Kind(StrEnum):
    """What is suspected, the worst first."""

    LEAKED = "leaked"
    """It stands in a split for evaluation, too."""
    CONFLICT = "conflict"
    """It stands under another class, too."""
    UNREADABLE = "unreadable"
    """It cannot be decoded."""
    BLANK = "blank"
    """It shows nothing: one colour."""
    MISLABELLED = "mislabelled"
    """It likely shows another class."""
    BLURRED = "blurred"
    """It has no sharp edge."""
    DARK = "dark"
    """It is nearly black."""
    DUPLICATE = "duplicate"
    """It stands in its class several times."""
    SIMILAR = "similar"
    """A model hardly tells it from another picture of its class."""
    TINY = "tiny"
    """It has few pixels."""
    ODD_RATIO = "odd-ratio"
    """It is very wide, or very high."""


KIND_WORDS = {
    Kind.LEAKED: "In training and in evaluation: accuracy is flattered",
    Kind.CONFLICT: "The same picture under two classes: one label is wrong",
    Kind.UNREADABLE: "Cannot be decoded: packing leaves them out",
    Kind.BLANK: "One colour: nothing can be learned from them",
    Kind.MISLABELLED: "The label is likely wrong",
    Kind.DARK: "Nearly black",
    Kind.BLURRED: "Blurred",
    Kind.DUPLICATE: "Several times in one class and split: they count more than others",
    Kind.SIMILAR: "Hardly told apart by the model: perhaps cuttings or other exposures of one picture",
    Kind.TINY: "Smaller than what networks look at",
    Kind.ODD_RATIO: "Very wide or very high: a crop of them shows little",
}
"""Each kind in words, as a heading."""

OPINIONS = frozenset({Kind.MISLABELLED, Kind.SIMILAR})
"""Kinds that are somebody's opinion: such pictures are left out only where it is said."""

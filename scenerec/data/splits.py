"""The splits of a data set, and the names that people give to them."""

import re
from collections import defaultdict
from collections.abc import Iterable

from scenerec.names import clean

SPLITS = ("train", "val", "test")

_SPELLINGS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "evaluation"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
_CONTENT = re.compile("data|dataset|images?|imgs?|photos?|pictures?|pics?|jpe?gs?|pngs?|labels?|annotations?|masks?")
"""Words for what any data set holds."""
_FILLER = re.compile(
    f"{_CONTENT.pattern}|sets?|splits?|folder|dir|seg|raw|resized|full|large|small|standard|label+ed|list|csv"
)
"""Words that stand beside a split's and name no class: `seg_train`, `val_large`, `Test Set`."""
_UNLABELLED = re.compile("pred|preds|predict|predictions?|unlabel+ed|submissions?")
_WORD = re.compile(r"[^\W\d_]+")
_CAMEL_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_COMPOUND = re.compile(r"(?<=[a-z])(set|data|images|imgs|dir)$")


def split_of(name: str) -> str | None:
    """The split that a folder or a list is named after, whatever its case and spelling; None for another name.

    `Train`, `training_set`, `seg_train`, `val2017` and `TestImages` are splits; `train_station` is none.
    """
    return next(iter(find_splits([name]).values()), None)


def find_splits(names: Iterable[str]) -> dict[str, str]:
    """Those of the names in one folder that are splits, each with its split; several may be the same.

    What stands beside the split's word must say nothing (`seg_train`), or be the same for several splits (`city_train`
    beside `city_test`).
    """
    by_rest: dict[frozenset[str], dict[str, str]] = defaultdict(dict)
    for name in names:
        words = _words(name)
        splits = {_SPELLINGS[word] for word in words if word in _SPELLINGS}
        if len(splits) == 1:
            by_rest[frozenset(word for word in words if word not in _SPELLINGS)].update({name: splits.pop()})
    found: dict[str, str] = {}
    for rest, members in by_rest.items():
        if all(map(_FILLER.fullmatch, rest)) or len(set(members.values())) > 1:
            found |= members
    return found


def says_nothing(name: str) -> bool:
    """Whether a folder's name is such as `images` or `data`, which tells of no class."""
    return all(map(_FILLER.fullmatch, _words(name)))


def names_content(name: str) -> bool:
    """Whether a folder's name is such as `images` or `labels`, which can hardly be a class."""
    return bool(words := _words(name)) and all(map(_CONTENT.fullmatch, words))


def is_unlabelled(name: str) -> bool:
    """Whether a folder is named as one of pictures that have no labels, such as `seg_pred`."""
    return any(map(_UNLABELLED.fullmatch, _words(name)))


def _words(name: str) -> list[str]:
    words = _WORD.findall(_CAMEL_HUMP.sub(" ", clean(name)))
    return [part for word in words for part in _COMPOUND.sub(r" \1", word.casefold()).split()]

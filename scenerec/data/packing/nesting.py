"""What of a nested folder's path names its class: all of it, or albums lie in classes, or classes in albums."""

import re
from collections.abc import Collection
from typing import Literal

from scenerec.data.class_names import without_alphabet
from scenerec.errors import DataError
from scenerec.names import few, shortened

Nested = Literal["path", "first", "last"]
"""What of `beach/2019` is the class: `beach/2019`, `beach` or `2019`."""

_KIND_OF_SCENE = re.compile(
    "indoor|outdoor|interior|exterior|inside|outside|public|natural|urban|home|vehicle|platform|station|establishment"
    "|cultivated|wild|broadleaf|needleleaf|sand|vegetation|water|door|shaft|soccer|baseball|football|east.asia|south.asia"
    "|barrel.storage|bottle.storage|coral.reef|ocean.deep|block|cascade|fan|plunge",
    re.IGNORECASE,
)
"""Names by which SUN and Places tell kinds of one scene apart: `market/indoor`."""


def name_classes(paths: Collection[str], nested: Nested | None, where: str) -> dict[str, str]:
    """The class of each folder by its path within its split, such as `sea`, `market/indoor` or `a/abbey`.

    The alphabetical folder of Places and SUN goes where all have it. Raises DataError where folders nest and neither
    `nested` nor their names tell what that means.
    """
    ordered = sorted(paths)
    bare = without_alphabet(ordered)
    if nested is None and (doubtful := [path for path in bare if _is_doubtful(path, lettered=bare != ordered)]):
        forms = "; ".join(f"--nested {form}: {few(sorted({_named(path, form) for path in bare}))}" for form in _FORMS)
        raise DataError(
            f"{where}: {shortened(doubtful[0])}/ lies in another folder: say which of them is the class: {forms}"
        )
    return {path: _named(name, nested or "path") for path, name in zip(ordered, bare, strict=True)}


_FORMS: tuple[Nested, ...] = ("path", "first", "last")


def _named(path: str, nested: Nested) -> str:
    parts = path.split("/")
    return {"path": path, "first": parts[0], "last": parts[-1]}[nested]


def _is_doubtful(path: str, lettered: bool) -> bool:
    """Whether what a folder lies in may be its class: `beach/2019`. SUN's and Places' own names are well known."""
    inner = path.split("/")[1:]
    if lettered:
        return any(re.search(r"\d", part) for part in inner)
    return not all(map(_KIND_OF_SCENE.fullmatch, inner))

"""What was understood of a source, in lines for people, before any of it is packed."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from scenerec.data.packing.raw_set import Problem, RawSet
from scenerec.data.packing.survey import Survey
from scenerec.names import printable

_SHOWN_CLASSES = 8
_SHOWN_CONTRADICTIONS = 5


def summary(raw: RawSet, surveys: Mapping[str, Survey]) -> list[str]:
    """The layout, the classes, and of each split where it was found and how many images of each class it has."""
    names = ", ".join(map(printable, _few(raw.classes, _SHOWN_CLASSES)))
    one = len(raw.classes) == 1
    lines = [f"{printable(str(raw.root))}: {raw.layout}, {len(raw.classes)} {'class' if one else 'classes'}: {names}"]
    for split, found in surveys.items():
        counts = Counter(name for image, _ in found.images for name in image.names)
        images = f"{len(found.images)} images"
        if raw.is_multilabel:
            without = sum(not image.names for image, _ in found.images)
            images += f" with {counts.total()} labels" + (f", {without} of them with none" if without else "")
        lines.append(f"  {split}, from {raw.origins[split]}: {images}: {_counts(raw.classes, counts)}")
    return lines + [f"  {remark}" for remark in raw.remarks]


def contradictions(surveys: Mapping[str, Survey]) -> list[str]:
    """A line for each of the first pictures that stand under two labels, and one for the others."""
    found = [problem for each in surveys.values() for problem in each.problems if problem.kind == "conflict"]
    lines = [f"the same picture under two labels: {described(problem)}" for problem in found[:_SHOWN_CONTRADICTIONS]]
    if more := len(found) - len(lines):
        lines.append(f"the same picture under two labels: {more} more (problems.jsonl lists them)")
    return lines


def described(problem: Problem) -> str:
    """A problem in one line."""
    return f"{problem.path} {problem.detail}"


def _counts(classes: Sequence[str], counts: Mapping[str, int]) -> str:
    if len(classes) <= _SHOWN_CLASSES:
        return ", ".join(f"{printable(name)} {counts[name]}" for name in classes)
    fewest, most = min(classes, key=counts.__getitem__), max(classes, key=counts.__getitem__)
    if counts[fewest] == counts[most]:
        return f"{counts[most]} of each class"
    return f"from {printable(fewest)} {counts[fewest]} to {printable(most)} {counts[most]}"


def _few(names: Iterable[str], shown: int) -> list[str]:
    names = list(names)
    return names if len(names) <= shown else [*names[: shown - 2], "...", names[-1]]

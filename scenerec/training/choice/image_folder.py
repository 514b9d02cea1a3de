"""A folder of photographs on its way to a training: understood, divided where it has no validation images, packed."""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from scenerec.data.packing.choices import Choices
from scenerec.data.packing.formats import open_source
from scenerec.data.packing.layouts import divided, read_division, read_raw_set
from scenerec.data.packing.pack import PackOptions, PackRequest, make_plans
from scenerec.data.packing.raw_set import RawSet
from scenerec.data.packing.summary import contradictions, summary
from scenerec.data.packing.survey import Survey, survey
from scenerec.data.picture import PictureError
from scenerec.data.pool import Runner
from scenerec.data.quality.division import Division, divide
from scenerec.data.quality.sources import parts_of, read_facts
from scenerec.errors import DataError, first_line, system_reason
from scenerec.names import printable
from scenerec.training.choice.facts import DataFacts, data_facts

_PROBED_IMAGES = 200
_LEAST_PACKED_SIDE_PX = 256  # so that a set serves other image sizes, too
_MUCH_LARGER = 1.5  # than what is packed: else images are packed as they are
_CLASSES = 2
_DIGITS = 8

Progress = Callable[[int, int], None]


class ImageFolder:
    """A folder of images in one of the layouts that can be packed.

    Args:
        folder: where they are.
        choices: what is said of its folders.
        table: where the division lies, or is to be written, if there is need of one.
        run: where images are looked at.
        on_progress: is told how many were looked at, and of how many.

    Raises DataError for a folder that cannot be packed or divided, or from which nothing can be learned.
    """

    def __init__(
        self, folder: Path, choices: Choices, table: Path, run: Runner, on_progress: Progress = lambda done, total: None
    ) -> None:
        self.folder, self.choices, self.table = folder, choices, table
        raw = read_raw_set(folder, choices=choices)
        _check(raw)
        self.division: Division | None = None
        if "val" not in raw.splits:
            self.division = _divide(raw, table, run, on_progress)
            raw = divided(raw, self.division.splits, table)
        self.raw = raw
        self.surveys = survey(raw)
        self.facts = _facts(raw, self.surveys)

    @property
    def lines(self) -> list[str]:
        """What was understood, for people."""
        lines = summary(self.raw, self.surveys)
        if division := self.division:
            alike = f"; {division.alike} look like another, and stay with it" if division.alike else ""
            lines.append(f"  divided into train and val, class by class{alike}: {self.table.name}")
            lines += [
                f"  warning: all images of {printable(name)} look alike: its accuracy will be flattered"
                for name in division.cut
            ]
        return [*lines, *(f"  warning: {line}" for line in contradictions(self.surveys))]

    @property
    def size_bytes(self) -> int:
        """Size of the images' files."""
        return sum(size for found in self.surveys.values() for _, size in found.images)

    def request(self, sets: str, image_size: int) -> PackRequest:
        """How it is packed for images of so many pixels, to an address that begins with `sets`.

        It ends with a digest of what is packed: the same images are packed once, others beside them.
        """
        side = max(_LEAST_PACKED_SIDE_PX, round(image_size / 0.875))
        options = PackOptions(short_side=side if self.facts.short_side >= _MUCH_LARGER * side else None)
        plans = make_plans(self.raw, self.surveys, options)
        digest = hashlib.sha256("".join(plan.fingerprint for plan, _ in plans).encode()).hexdigest()
        return PackRequest(
            source=self.folder,
            destination=f"{sets}-{digest[:_DIGITS]}",
            division=self.table if self.division else None,
            nested=self.choices.nested,
            splits=self.choices.splits,
            options=options,
        )

    def division_text(self) -> str:
        """The content of the table of the division. Raises DataError for a name that cannot be written."""
        assert self.division is not None
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("path", "split"))
        writer.writerows(sorted(self.division.splits.items()))
        try:
            text.getvalue().encode()
        except UnicodeEncodeError:
            odd = next(path for path in self.division.splits if not path.isprintable())
            raise DataError(f"{printable(odd)}: its name is not UTF-8 text: rename it") from None
        return text.getvalue()


def _check(raw: RawSet) -> None:
    if "train" not in raw.splits:
        there = ", ".join(raw.splits) or "none"
        raise DataError(f"{raw.root}: has no images to learn from (its splits are {there}): add a folder train/")
    if raw.is_multilabel:
        raise DataError(
            f"{raw.root}: has several labels an image, for which nothing is chosen: pack it, and write a train.yaml "
            "with task: multilabel (docs/multi-label.md)"
        )
    if len(raw.classes) < _CLASSES:
        one = printable(raw.classes[0]) if raw.classes else "none"
        raise DataError(
            f"{raw.root}: has one class ({one}), and there is nothing to tell apart: put the images of each class into "
            "a folder of its own"
        )


def _divide(raw: RawSet, table: Path, run: Runner, on_progress: Progress) -> Division:
    """The division that the table says, where it knows all images; else one that leaves in place what it knows."""
    images = raw.splits["train"]
    known: Mapping[str, str] = read_division(table) if table.is_file() else {}
    if known and all(image.path in known for image in images):
        return Division({image.path: known[image.path] for image in images}, 0)
    parts = parts_of(raw.root, {"": images})
    return divide(read_facts(parts, run if len(parts) > 1 else None, on_progress), known)


def _facts(raw: RawSet, surveys: Mapping[str, Survey]) -> DataFacts:
    counts = Counter(image.class_name for image, _ in surveys["train"].images)
    return data_facts(dict(counts), len(surveys["val"].images), _short_sides(raw.root, surveys["train"]))


def _short_sides(root: Path, found: Survey) -> list[int]:
    """Short sides of some images, in pixels. Raises DataError where none of them can be read."""
    probed = found.images[:: max(1, len(found.images) // _PROBED_IMAGES)]
    sides, problem = [], ""
    for image, _ in probed:
        try:
            sides.append(min(open_source((root / image.path).read_bytes()).upright_size))
        except OSError as error:
            problem = f"{printable(image.path)}: {system_reason(error)}"
        except PictureError as error:
            problem = f"{printable(image.path)}: {first_line(error)}"
    if not sides:
        raise DataError(f"{root}: of {len(probed)} images tried, none can be read ({problem})")
    return sides

"""What a bulk prediction has written down before its first answer, by which it goes on after it was stopped.

    OUTPUT/_plan/listing-000000.jsonl      the images of a part
    OUTPUT/_plan/plan.json                 what was asked, and how many images each part has; goes last of these
    OUTPUT/_plan/unreadable-000000.jsonl   the part's images that cannot be read, where there are such
    OUTPUT/part-000000.parquet             the answers of a part, put in one piece when the part is done
    OUTPUT/_unreadable.csv                 all images that cannot be read; written when all parts are there

What begins with an underscore is passed over by what reads a folder of tables. Where the output is one file,
FILE.parts stands for OUTPUT until all is done.
"""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest

from pydantic import Field

from scenerec.errors import ConfigError, DataError
from scenerec.frozen import Frozen, parse_json
from scenerec.inference.bulk.listing import (
    Listed,
    ListedShard,
    Part,
    check_sources,
    cut_parts,
    decode_part,
    encode_part,
    entries_of,
    images_of,
    list_images,
)
from scenerec.inference.bulk.predictor import Answers
from scenerec.inference.bulk.request import PredictRequest, Question
from scenerec.inference.bulk.table import encode_answers, printable_image
from scenerec.inference.bundles.info import BundleInfo
from scenerec.storage import Patience, Storage, open_storage

PLAN_KEY = "_plan/plan.json"
"""Key of the file that makes a listing complete."""
UNREADABLE_KEY = "_unreadable.csv"
"""Key of the list of all images that cannot be read."""

_TABLE = re.compile(r"part-(\d{6,})\.(\w+)")
_OURS = re.compile(r"part-\d{6,}\.\w+|_plan/(listing|unreadable)-\d{6,}\.jsonl|_plan/plan\.json|_unreadable\.csv")
_OTHER = "has answers to something else"
_BEGIN_ANEW = "--overwrite deletes them and begins anew; or name another --output"
_SETTINGS = {
    "sources": "other images",
    "model_sha256": "another model",
    "form": "another --format",
    "top_k": "another --top",
    "batch_size": "another --batch-size",
    "images_per_part": "another --images-per-part",
    "embeddings": "another --embeddings",
    "coordinates": "other coordinates",
    "coordinates_from_exif": "another --coordinates-from-exif",
}
"""In what the answers of a folder differ from those to a question, by its field."""


class Plan(Frozen):
    """Content of plan.json."""

    version: int = Field(1, ge=1, le=1)
    """Version of this format."""
    question: Question
    """What decides the answers."""
    model: str
    """Address of the bundle."""
    parts: tuple[int, ...]
    """Images of each part."""

    @property
    def images(self) -> int:
        """Images of all parts."""
        return sum(self.parts)


@dataclass(frozen=True)
class PlannedOutput:
    """A plan, and the folder of its parts. Picklable."""

    folder: Storage
    """Where the parts are, and the plan."""
    plan: Plan
    """What was written down."""

    def part(self, number: int) -> Part:
        """The images of a part, as they were listed. Raises DataError where the list is damaged, StorageError."""
        key = listing_key(number)
        return decode_part(self.folder.get(key), f"{self.folder.url}/{key}")

    def table_key(self, number: int) -> str:
        """Key of a part's table."""
        return f"part-{number:06}.{self.plan.question.form}"

    def missing(self) -> list[int]:
        """Numbers of the parts that have no table yet. Raises StorageError."""
        there = {info.key for info in self.folder.list("part-")}
        return [number for number in range(len(self.plan.parts)) if self.table_key(number) not in there]

    def write(self, number: int, answers: Answers, info: BundleInfo) -> None:
        """Writes a part: its images that cannot be read, then its table, which makes it done. Raises StorageError."""
        question = self.plan.question
        if answers.unreadable:
            lines = (json.dumps([printable_image(image), reason]) for image, reason in answers.unreadable)
            self.folder.put(unreadable_key(number), "".join(f"{line}\n" for line in lines).encode())
        self.folder.put(self.table_key(number), encode_answers(answers, info, question.form, question.embeddings))

    def tables(self) -> Iterator[bytes]:
        """The tables of all parts, in order. Raises StorageError."""
        return (self.folder.get(self.table_key(number)) for number in range(len(self.plan.parts)))

    def unreadable(self) -> list[tuple[str, str]]:
        """Address and reason of all images that cannot be read, in order. Raises StorageError."""
        listed = self.folder.list("_plan/unreadable-")
        return [
            (image, reason)
            for each in listed
            for image, reason in map(json.loads, self.folder.get(each.key).splitlines())
        ]


def listing_key(number: int) -> str:
    """Key of the list of a part's images."""
    return f"_plan/listing-{number:06}.jsonl"


def unreadable_key(number: int) -> str:
    """Key of the list of a part's images that cannot be read."""
    return f"_plan/unreadable-{number:06}.jsonl"


def unreadable_table(unreadable: list[tuple[str, str]]) -> bytes:
    """The content of a CSV file with the columns `image` and `reason`."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([("image", "reason"), *unreadable])
    return text.getvalue().encode()


def open_plan(request: PredictRequest, url: str, patience: Patience) -> PlannedOutput:
    """Lists the images and writes down what is to be done in the folder `url`, or goes on with what was begun there.

    Raises ConfigError where another listing or another question was begun there, DataError, StorageError.
    """
    folder = open_storage(url, patience)
    check_sources(request.question.sources)
    if request.overwrite:
        delete_answers(folder)
    if (planned := find_plan(folder)) is None:
        return _begin(request, folder, patience)
    check_question(planned, request.question)
    if not request.keep_listing:
        _check_listing(planned, patience)
    _check_tables(planned)
    return planned


def find_plan(folder: Storage) -> PlannedOutput | None:
    """What was written down in a folder; None where nothing was. Raises DataError where it is damaged, StorageError."""
    content = folder.get_versioned(PLAN_KEY)
    where = f"{folder.url}/{PLAN_KEY}"
    return PlannedOutput(folder, parse_json(Plan, content[0], where, DataError)) if content else None


def check_question(planned: PlannedOutput, question: Question) -> None:
    """Raises ConfigError that names what differs where another question was begun; never coordinates."""
    was = planned.plan.question
    other = next((field for field in Question.model_fields if getattr(was, field) != getattr(question, field)), None)
    if other is None:
        return
    shown = {
        "sources": ", ".join(was.sources),
        "model_sha256": planned.plan.model,
        **{field: str(getattr(was, field) or "") for field in ("form", "top_k", "batch_size", "images_per_part")},
    }.get(other)
    told = f"{_SETTINGS[other]} ({shown})" if shown else _SETTINGS[other]
    raise ConfigError(f"{planned.folder.url}: {_OTHER}: {told}: {_BEGIN_ANEW}")


def delete_answers(folder: Storage) -> None:
    """Deletes a plan and its answers, the plan first; other files stay. Raises StorageError."""
    folder.delete(PLAN_KEY)
    for key in [info.key for info in folder.list() if _OURS.fullmatch(info.key)]:
        folder.delete(key)


def _begin(request: PredictRequest, folder: Storage, patience: Patience) -> PlannedOutput:
    if stray := next((info.key for info in folder.list("part-") if _TABLE.fullmatch(info.key)), None):
        raise ConfigError(f"{folder.url}: has answers ({stray}), but not what they answer: {_BEGIN_ANEW}")
    counts = []
    listed = list_images(request.question.sources, patience)
    for number, part in enumerate(cut_parts(listed, request.question.images_per_part)):
        folder.put(listing_key(number), encode_part(part))
        counts.append(images_of(part))
    plan = Plan(question=request.question, model=request.model, parts=tuple(counts))
    folder.put(PLAN_KEY, plan.model_dump_json(indent=1).encode())
    return PlannedOutput(folder, plan)


def _check_listing(planned: PlannedOutput, patience: Patience) -> None:
    """Raises ConfigError that names the first image in which the sources' listing is another one by now."""
    was = chain.from_iterable(entries_of(planned.part(number)) for number in range(len(planned.plan.parts)))
    for before, now in zip_longest(was, list_images(planned.plan.question.sources, patience)):
        if before != now:
            raise ConfigError(
                f"{planned.folder.url}: {_OTHER}: the images have changed since they were listed, the first at "
                f"{_named(now or before)}: --keep-listing goes on with those that were listed; {_BEGIN_ANEW}"
            )


def _named(entry: Listed) -> str:
    return f"{entry.set}/{entry.shard}" if isinstance(entry, ListedShard) else entry.image


def _check_tables(planned: PlannedOutput) -> None:
    """Raises ConfigError for a table that is none of the plan's: who reads the folder would read it along."""
    ours = {planned.table_key(number) for number in range(len(planned.plan.parts))}
    for info in planned.folder.list("part-"):
        if _TABLE.fullmatch(info.key) and info.key not in ours:
            raise ConfigError(
                f"{planned.folder.url}/{info.key}: is no part of these answers, which are {len(ours)}: delete it"
            )

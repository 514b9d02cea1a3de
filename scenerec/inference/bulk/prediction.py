"""The story of a bulk prediction: what is asked is written down, then answered part by part, then brought together."""

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from scenerec.errors import BundleError, ConfigError
from scenerec.inference.bulk.plan import (
    UNREADABLE_KEY,
    PlannedOutput,
    check_question,
    delete_answers,
    find_plan,
    open_plan,
    unreadable_table,
)
from scenerec.inference.bulk.predictor import BulkPredictor
from scenerec.inference.bulk.request import FORMS, Form, PredictRequest
from scenerec.inference.bulk.table import join_tables
from scenerec.inference.bundles.bundle import INFO_FILE, Bundle, open_bundle
from scenerec.storage import IMPATIENT, LocalStorage, Patience, Storage, open_storage, split_url

OnProgress = Callable[[int, int], None]
"""Is told how many images are done, and how many there are; first of those that were done before."""


@dataclass(frozen=True)
class PredictResult:
    """What a bulk prediction came to."""

    output: str
    """Where the answers are."""
    images: int
    """Images that were listed."""
    answered: int
    """Images that have an answer."""
    unreadable: int
    """Images that cannot be read."""
    unreadable_list: str | None
    """Address of the list of those; None where there are none."""
    parts: int
    """Parts of the listing."""
    parts_before: int
    """Parts that were there already."""
    seconds: float
    """Seconds that the others took."""
    images_per_s: float
    """Images that were answered in a second; 0 where all were there."""


def output_form(output: str) -> Form | None:
    """The format of an output that is one file; None for a folder of tables."""
    return next((form for form in FORMS if output.endswith(f".{form}")), None)


def bundle_sha256(bundle: Bundle) -> str:
    """SHA-256 of a bundle's bundle.json, as it lies at its address. Raises StorageError."""
    return hashlib.sha256(open_storage(bundle.url).get(INFO_FILE)).hexdigest()


def open_asked(request: PredictRequest, patience: Patience = IMPATIENT) -> Bundle:
    """Opens the bundle of a request. Raises BundleError where it is another one by now, or damaged; StorageError."""
    bundle = open_bundle(request.model, patience)
    if bundle_sha256(bundle) != request.question.model_sha256:
        raise BundleError(f"{request.model}: is another model than the one that was asked: predict again")
    return bundle


def check_output(request: PredictRequest) -> None:
    """Raises ConfigError where other answers are at the output, without a look at the images; StorageError."""
    if request.overwrite:
        return
    if output_form(request.output) is not None:
        folder, name = split_url(request.output)
        if open_storage(folder).size(name) is not None:
            raise ConfigError(f"{request.output}: is there already: --overwrite replaces it; or name another --output")
    if planned := find_plan(open_storage(_parts_url(request))):
        check_question(planned, request.question)


def prepare(request: PredictRequest, patience: Patience = IMPATIENT) -> PlannedOutput:
    """Writes down what is asked, or finds what was begun. Raises ConfigError, DataError, StorageError."""
    check_output(request)
    planned = open_plan(request, _parts_url(request), patience)
    if request.overwrite and output_form(request.output) is not None:
        folder, name = split_url(request.output)
        open_storage(folder, patience).delete(name)
    return planned


def predict_here(request: PredictRequest, bundle: Bundle, on_progress: OnProgress = lambda *_: None) -> PredictResult:
    """Predicts in this process. What was stopped is gone on with by the same request.

    Raises ConfigError where other answers are at the output, DataError, StorageError, BundleError, ModelError.
    """
    predictor = BulkPredictor(bundle, request.question, request.threads)
    planned = prepare(request)
    missing = planned.missing()
    count = ImageCount(planned, missing, on_progress)
    answers = predictor.answer(map(planned.part, missing), count.add)
    for number, answered in zip(missing, answers, strict=True):
        planned.write(number, answered, bundle.info)
    return finish(request, planned, count)


class ImageCount:
    """How far the parts are that were missing."""

    def __init__(self, planned: PlannedOutput, missing: Iterable[int], on_progress: OnProgress) -> None:
        self.missing = list(missing)
        self.total = planned.plan.images
        self.done = self.done_before = self.total - sum(planned.plan.parts[number] for number in self.missing)
        self._on_progress = on_progress
        self._began_s = time.monotonic()
        on_progress(self.done, self.total)

    def add(self, images: int) -> None:
        """Takes note of further images that are done."""
        self.done += images
        self._on_progress(self.done, self.total)

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began_s


def finish(
    request: PredictRequest, planned: PlannedOutput, count: ImageCount, patience: Patience = IMPATIENT
) -> PredictResult:
    """Brings the parts together when all are there, and says what came of it. Raises StorageError."""
    seconds = count.seconds
    unreadable = planned.unreadable()
    if (form := output_form(request.output)) is None:
        place, list_name = planned.folder, UNREADABLE_KEY
    else:
        folder, name = split_url(request.output)
        place, list_name = open_storage(folder, patience), _unreadable_name(name)
    if unreadable:
        place.put(list_name, unreadable_table(unreadable))
    else:  # of earlier answers
        place.delete(list_name)
    if form is not None:
        with tempfile.TemporaryDirectory(prefix="scenerec-predict-") as temporary:
            joined = Path(temporary, "answers")
            join_tables(planned.tables(), form, joined)
            place.put(name, joined)
        _remove(planned.folder)
    images = planned.plan.images
    return PredictResult(
        output=request.output,
        images=images,
        answered=images - len(unreadable),
        unreadable=len(unreadable),
        unreadable_list=f"{place.url}/{list_name}" if unreadable else None,
        parts=len(planned.plan.parts),
        parts_before=len(planned.plan.parts) - len(count.missing),
        seconds=seconds,
        images_per_s=(images - count.done_before) / seconds if count.missing else 0.0,
    )


def _parts_url(request: PredictRequest) -> str:
    """Address of the folder with the parts."""
    return request.output if output_form(request.output) is None else f"{request.output}.parts"


def _remove(folder: Storage) -> None:
    """Deletes the parts of one file, and of a folder of this machine what a killed process was writing there."""
    delete_answers(folder)
    if isinstance(folder, LocalStorage):
        for unfinished in folder.root.glob(".part-*"):
            unfinished.unlink(missing_ok=True)
        with suppress(OSError):
            folder.root.rmdir()


def _unreadable_name(name: str) -> str:
    """Name of the list beside a file of answers: `answers.csv` has `answers.unreadable.csv`."""
    return f"{name.rpartition('.')[0]}.unreadable.csv"

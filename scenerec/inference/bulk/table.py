"""Answers as a table: Parquet, CSV, or a JSON object a line; and tables that are joined to one."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from scenerec.data.labels import SEPARATOR
from scenerec.inference.bulk.predictor import Answers
from scenerec.inference.bulk.request import Form
from scenerec.inference.bundles.info import BundleInfo
from scenerec.json_object import JsonObject
from scenerec.names import printable


def encode_answers(answers: Answers, info: BundleInfo, form: Form, embeddings: bool = False) -> bytes:
    """The content of a file with a row for each image that was read, in order.

    Parquet: `image`, `label` and `probability` of the first class, `labels` and `probabilities` of the ranked classes
    (lists). CSV: `image`, `label`, `probability`, then `label_2`, `probability_2` and so on. JSONL: the lines of
    `scenerec predict --json`. Of a model that may abstain, `abstained` says whether it did. Of a
    multi-label model, the labels that it gives are `given_labels` and `given_probabilities` (lists; in CSV the labels
    alone, apart by `;`; in JSONL one list of objects). With
    `embeddings`, which CSV does not take, a list `embedding` as well; of a model that gives these alone, nothing else.
    The same answers give the same bytes.
    """
    match form:
        case "parquet":
            return _parquet(answers, info, embeddings)
        case "csv":
            return _csv(answers, info)
        case "jsonl":
            return _jsonl(answers, info)


def join_tables(tables: Iterable[bytes], form: Form, target: Path) -> None:
    """Writes tables of one format, one after another, to one file. Memory holds one at a time."""
    if form == "parquet":
        _join_parquet(tables, target)
        return
    with target.open("wb") as file:
        for number, table in enumerate(tables):
            has_header = form == "csv" and number > 0
            file.write(table.partition(b"\n")[2] if has_header else table)


def _parquet(answers: Answers, info: BundleInfo, embeddings: bool) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = pa.array(info.labels, pa.string())

    def lists(values: pa.Array) -> pa.Array:
        """A list of as many of the values for each row."""
        rows = len(answers.images)
        ends = np.arange(rows + 1, dtype=np.int32) * (len(values) // rows if rows else 0)
        return pa.ListArray.from_arrays(ends, values)

    columns = {"image": pa.array([printable_image(image) for image in answers.images], pa.string())}
    if info.task != "embedding":
        columns |= {
            "label": names.take(pa.array(answers.ranked[:, 0])),
            "probability": pa.array(answers.probabilities[:, 0]),
            "labels": lists(names.take(pa.array(answers.ranked.ravel()))),
            "probabilities": lists(pa.array(answers.probabilities.ravel())),
        }
    if info.abstain_below is not None:
        columns["abstained"] = pa.array(answers.probabilities[:, 0].astype(np.float64) < info.abstain_below)
    if info.task == "multilabel":
        ends = np.cumsum([0, *map(len, answers.given)], dtype=np.int32)
        flat = [each for given in answers.given for each in given]
        indices = pa.array([index for index, _ in flat], pa.int64())
        shares = pa.array([probability for _, probability in flat], pa.float32())
        columns["given_labels"] = pa.ListArray.from_arrays(ends, names.take(indices))
        columns["given_probabilities"] = pa.ListArray.from_arrays(ends, shares)
    if embeddings:
        values = np.empty(0, np.float32) if answers.embeddings is None else answers.embeddings.ravel()
        columns["embedding"] = lists(pa.array(values))
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, compression="zstd")
    return file.getvalue()


def _csv(answers: Answers, info: BundleInfo) -> bytes:
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    further = [f"{name}_{n}" for n in range(2, answers.ranked.shape[1] + 1) for name in ("label", "probability")]
    abstained = [] if info.abstain_below is None else ["abstained"]
    given = ["given_labels"] if info.task == "multilabel" else []
    rows.writerow(["image", "label", "probability", *further, *given, *abstained])
    for row, (image, guesses) in enumerate(_rows(answers, info.labels)):
        abstained = [] if info.abstain_below is None else [str(guesses[0][1] < info.abstain_below).lower()]
        if info.task == "multilabel":
            given = [SEPARATOR.join(info.labels[index] for index, _ in answers.given[row])]
        rows.writerow([image, *(cell for guess in guesses for cell in guess), *given, *abstained])
    return text.getvalue().encode()


def _jsonl(answers: Answers, info: BundleInfo) -> bytes:
    found = [_answer_object(*row, info) for row in _rows(answers, info.labels)]
    if info.task == "multilabel":
        for each, given in zip(found, answers.given, strict=True):
            each["given_labels"] = [{"label": info.labels[index], "probability": share} for index, share in given]
    if answers.embeddings is not None:
        for each, embedding in zip(found, answers.embeddings.tolist(), strict=True):
            each["embedding"] = embedding
    return "".join(f"{json.dumps(each)}\n" for each in found).encode()


def _answer_object(image: str, guesses: Sequence[tuple[str, float]], info: BundleInfo) -> JsonObject:
    """An image's answer in JSON; `guesses` are labels with their probabilities, the most probable first."""
    if info.task == "embedding":
        return {"image": image}
    found = [{"label": label, "probability": probability} for label, probability in guesses]
    place = info.places.get(guesses[0][0])
    further = place.model_dump(mode="json", exclude_defaults=True) if place else {}
    if info.abstain_below is not None:
        further["abstained"] = guesses[0][1] < info.abstain_below
    return {"image": image, "predictions": found, **further}


def _rows(answers: Answers, labels: tuple[str, ...]) -> Iterable[tuple[str, list[tuple[str, float]]]]:
    for image, ranked, probabilities in zip(
        answers.images, answers.ranked.tolist(), answers.probabilities.tolist(), strict=True
    ):
        named = [labels[index] for index in ranked]
        yield printable_image(image), list(zip(named, probabilities, strict=True))


def printable_image(image: str) -> str:
    """The address as it is, or escaped where a file's name is no UTF-8, which no table takes."""
    try:
        image.encode()
    except UnicodeEncodeError:
        return printable(image)
    return image


def _join_parquet(tables: Iterable[bytes], target: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    for content in tables:
        table = pq.read_table(pa.BufferReader(content))
        writer = writer or pq.ParquetWriter(target, table.schema, compression="zstd")
        writer.write_table(table)
    if writer:
        writer.close()

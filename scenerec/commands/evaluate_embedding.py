"""How good a bundle of features is, for `scenerec evaluate`: by the classes of an image's nearest others."""

import json

import numpy as np
import typer

from scenerec.commands.screen.progress_bar import ProgressBar
from scenerec.data.packed_set import open_set
from scenerec.errors import ConfigError, DataError
from scenerec.inference.bundles.bundle import INFO_FILE, open_bundle, read_info
from scenerec.inference.evaluation.images import Preparation, image_batches
from scenerec.inference.evaluation.significance import wilson_interval
from scenerec.inference.predictors.open_predictor import predictor_of
from scenerec.storage import open_storage

NEIGHBORS = 20
"""Neighbours that vote for an image's class, as in a pretraining's probe."""


def gives_embeddings(target: str) -> bool:
    """Whether a bundle of features is at this address. Raises BundleError, StorageError."""
    if target.endswith(".tflite") or open_storage(target).size(INFO_FILE) is None:
        return False
    return read_info(target).task == "embedding"


def evaluate_embedding(
    target: str, data: str | None, limit: int | None, batch_size: int, threads: int, as_json: bool
) -> None:
    """Tells for how many images of a packed set the nearest others vote rightly.

    Raises ConfigError where no set is named, DataError for a set without classes, BundleError, StorageError.
    """
    if data is None:
        raise ConfigError(f"{target}: gives embeddings, which labelled images judge: give such a set with --data SET")
    from scenerec.training.embeddings import knn_accuracy

    labelled = open_set(data)
    classes, samples = labelled.manifest.classes, min(limit or labelled.manifest.samples, labelled.manifest.samples)
    if labelled.manifest.is_multilabel or len(classes) < 2 or samples < 2:
        raise DataError(f"{labelled.url}: embeddings are judged by images of classes, one an image: name another set")
    model = predictor_of(open_bundle(target), threads)
    rows, labels = [], []
    with ProgressBar("evaluating", "opening the model") as progress:
        for batch in image_batches(labelled, range(samples), Preparation.of(model), batch_size, threads):
            rows.append(model.logits(batch.images))
            labels.append(batch.labels)
            progress.show(sum(map(len, labels)), samples)
    features, known = np.concatenate(rows), np.concatenate(labels)
    top1 = knn_accuracy(features, known, features, known, NEIGHBORS, is_one_set=True)
    frequent = float(np.bincount(known).max() / samples)
    if as_json:
        found = {"knn_top1": top1, "neighbors": NEIGHBORS, "most_frequent_class": frequent}
        described = {"url": labelled.url, "fingerprint": labelled.manifest.fingerprint, "samples": samples}
        typer.echo(json.dumps({"task": "embedding", "bundle": target, "data": described, **found}))
        return
    low, high = wilson_interval(round(top1 * samples), samples)
    typer.echo(f"{samples} of {labelled.manifest.samples} images of {len(classes)} classes, {labelled.url}\n{target}")
    interval = f"95 % interval {low:.2%} to {high:.2%}; always the most frequent class: {frequent:.2%}"
    typer.echo(f"top-1 of the {NEIGHBORS} nearest other images: {top1:.2%} ({interval})")

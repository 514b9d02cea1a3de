"""Who judges the labels of a data set: a model the pictures that it has not trained on, features all others."""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from scenerec.checkpoint import read_run_state
from scenerec.data.pool import default_processes
from scenerec.data.quality.facts import PictureFacts
from scenerec.data.quality.labels import Opinion, by_features, judgeable
from scenerec.data.quality.sources import Part
from scenerec.errors import ConfigError, ModelError
from scenerec.inference.bundles.bundle import INFO_FILE, open_bundle
from scenerec.inference.predictors.photograph import Preparer
from scenerec.inference.predictors.predictor import Predictor, softmax
from scenerec.inference.predictors.trained_model import find_checkpoint
from scenerec.names import clean
from scenerec.storage import open_storage, split_url

_BATCH_SIZE = 32
_BATCHES_AHEAD = 2  # decoded, or on their way, while the model works


@dataclass(frozen=True)
class Onlooker:
    """A model that is asked what the pictures of a data set show."""

    model: Predictor
    seen: frozenset[str]
    """The splits that it has trained on: it repeats their labels, whatever they show."""
    knows_classes: bool
    """Whether it names the set's classes; else what it says of pictures are features."""


def training_set_of(target: str) -> str | None:
    """Fingerprint of the set that a run, a checkpoint or a bundle was trained on, where it is known.

    Raises ModelError, CheckpointError, BundleError, StorageError where there is no such thing.
    """
    if target.endswith(".tflite"):
        return None
    if open_storage(target).size(INFO_FILE) is not None:
        return open_bundle(target).info.lineage.dataset_fingerprint
    folder, name = split_url(find_checkpoint(target))
    return read_run_state(open_storage(folder), name).identity.get("training set")


def onlooker(
    model: Predictor, training_set: str | None, classes: Collection[str], fingerprints: Mapping[str, str | None]
) -> Onlooker:
    """A model before a data set: which of its splits it may judge, and how.

    Args:
        model: the model.
        training_set: fingerprint of the set that it was trained on, where that is known.
        classes: of the data set.
        fingerprints: of its splits, where it is packed; a set that was named itself has the split "".

    Raises:
        ConfigError: it has trained on all of them.
    """
    knows_classes = {clean(name) for name in classes} <= {clean(label) for label in model.labels}
    trained_on = {split for split, own in fingerprints.items() if split == "train" or (own and own == training_set)}
    seen = frozenset(trained_on if knows_classes else ())
    if seen == fingerprints.keys():
        raise ConfigError(
            f"{model.name}: has trained on these pictures, and repeats their labels: check a split that it has not "
            "seen, or leave --model out"
        )
    return Onlooker(model, seen, knows_classes)


def opinions(
    looker: Onlooker | None,
    pictures: Sequence[PictureFacts],
    parts: Sequence[Part],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Opinion], list[str]]:
    """What is thought of pictures, each judged once, by the model where it may; and in words what was not judged.

    `parts` have the pictures, which are read again where there is a model; `on_progress` is called with those that it
    has been asked for, and all. Raises ModelError where it gives no numbers, DataError, StorageError.
    """
    found: list[Opinion] = []
    remarks: list[str] = []
    for by_model in (True, False):
        some = [each for each in pictures if by_model == (looker is not None and each.split not in looker.seen)]
        judged, why = judgeable(some)
        if some and why:
            remarks.append(why)
        if judged and looker and by_model:
            found.append(_of_model(looker, judged, _logits(looker.model, parts, judged, on_progress)))
        elif judged:
            features = np.stack([np.frombuffer(picture.features, np.float16) for picture in judged])
            found.append(by_features("colours and textures", judged, features))
    return found, remarks


def _of_model(looker: Onlooker, pictures: Sequence[PictureFacts], logits: np.ndarray) -> Opinion:
    model = looker.model
    if not looker.knows_classes:
        return by_features(f"what {model.name} sees in them", pictures, logits)
    places = {clean(label): place for place, label in enumerate(model.labels)}
    classes = tuple(sorted({picture.class_name for picture in pictures}))
    probabilities = softmax(logits[:, [places[clean(name)] for name in classes]], model.temperature)
    return Opinion(model.name, tuple(pictures), classes, probabilities)


def _logits(
    model: Predictor, parts: Sequence[Part], pictures: Sequence[PictureFacts], on_progress: Callable[[int, int], None]
) -> np.ndarray:
    """The model's logits, float32 [pictures, classes]."""
    place = {picture.path: number for number, picture in enumerate(pictures)}
    prepare = Preparer(model.image_size, model.eval_crop_ratio)
    found: np.ndarray | None = None
    done = 0
    on_progress(0, len(place))
    with ThreadPoolExecutor(default_processes(), "decode") as pool:
        for paths, images in _prepared(parts, place.keys(), prepare, pool):
            logits = model.logits(images)
            if not np.isfinite(logits).all():
                raise ModelError(f"{model.name}: gives logits that are not numbers: the model is damaged or diverged")
            found = np.zeros((len(place), logits.shape[1]), np.float32) if found is None else found
            found[[place[path] for path in paths]] = logits
            done += len(paths)
            on_progress(done, len(place))
    assert found is not None
    return found


def _prepared(
    parts: Sequence[Part], wanted: Collection[str], prepare: Preparer, pool: ThreadPoolExecutor
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Batches of the wanted pictures' paths and uint8 [n, size, size, 3]; the next ones are decoded meanwhile."""
    pending: deque[list[tuple[str, Future[np.ndarray]]]] = deque([[]])
    for picture in (picture for part in parts for picture in part.pictures()):
        if picture.path not in wanted or isinstance(picture.content, OSError):
            continue
        pending[-1].append((picture.path, pool.submit(prepare, picture.content)))
        if len(pending[-1]) == _BATCH_SIZE:
            pending.append([])
        if len(pending) > _BATCHES_AHEAD:
            yield _ready(pending.popleft())
    yield from (_ready(batch) for batch in pending if batch)


def _ready(batch: Sequence[tuple[str, Future[np.ndarray]]]) -> tuple[list[str], np.ndarray]:
    return [path for path, _ in batch], np.stack([future.result() for _, future in batch])

"""Weights in files: every format that is common, read into and written from the neutral state.

Files of a framework are left to its own module, which is imported only when one is met.
"""

import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from scenerec import __version__
from scenerec.checkpoint import AVERAGES_FILE, MODEL_FILE, STATE_FILE, best_checkpoint, list_checkpoints
from scenerec.errors import CheckpointError, ModelError, NotFoundError, StorageError, first_line
from scenerec.json_object import JsonObject
from scenerec.models import zoo
from scenerec.models.heads import HEAD_PREFIXES
from scenerec.models.neutral import State, StateError, shown_key
from scenerec.models.preprocessing import IMAGENET, WeightPreprocessing
from scenerec.models.weights import safetensors_weights
from scenerec.models.weights.formats import SUFFIXES, file_format, foreign_content
from scenerec.models.weights.names import clash, current_name, likely_prefixes, wrappers
from scenerec.models.weights.origin import Origin
from scenerec.storage import IMPATIENT, LocalStorage, Patience, Storage, file_sha256, open_storage, read_json, split_url

_MOST_DIGITS = 5  # of an image size

# GoogLeNet's and Inception's, which serve training from scratch alone and which our networks have not; and those of a
# pretraining, whose backbone is what one wants.
_AUXILIARY_HEADS = ("aux1.", "aux2.", "AuxLogits.", *HEAD_PREFIXES)


@dataclass(frozen=True)
class WeightFile:
    """A network's weights as read from one of the formats."""

    state: State
    """All tensors as a neutral state (see `scenerec.models.neutral`)."""
    arch: str | None
    """Name of the architecture, where the file tells one of the zoo."""
    image_size: int | None
    """Side of its images in pixels, where the file tells."""
    format: str
    """One of safetensors, torch, keras, savedmodel and checkpoint."""
    left_out: tuple[str, ...] = ()
    """Keys of auxiliary heads that the file holds as well."""
    removed: tuple[str, ...] = ()
    """What stood before keys and was taken off: `_orig_mod.`, `model.`."""

    def for_network(self, expected: Collection[str], where: str) -> "WeightFile":
        """The same weights without the prefix that all keys of a network, the `expected` ones, have in common.

        Raises:
            StateError: several prefixes serve as well, so that there are several networks in the file `where`.
        """
        prefixes = likely_prefixes(self.state, expected)
        if len(prefixes) > 1:
            several = " and ".join(shown_key(prefix) if prefix else "no prefix" for prefix in prefixes[:3])
            raise StateError(f"{where}: there are several networks in it, at {several}: save one of them alone")
        prefix = prefixes[0] if prefixes else ""
        state = {key.removeprefix(prefix): array for key, array in self.state.items()}
        if not prefix or len(state) < len(self.state):
            return self
        return replace(self, state=state, removed=(*self.removed, prefix))


def read_weights(url: str, averaged: bool = False, patience: Patience = IMPATIENT) -> WeightFile:
    """Read the weights at `url`, a local path or s3://.

    It may be a file of a suffix that `file_format` knows, a SavedModel that `write_weights` wrote, a checkpoint, or
    the folder of a run, which stands for its best checkpoint. Keys are brought to torchvision's names, without what
    wraps modules; a prefix before all of them stays until `WeightFile.for_network`.

    Args:
        url: the file or folder.
        averaged: the moving averages of the parameters, which only some checkpoints and torch files hold.
        patience: how long a store is waited for.

    Raises:
        ModelError: there are no weights, or they cannot be read safely.
        CheckpointError: a checkpoint is damaged, or a run has no best one yet.
        StorageError: the store does not answer.
    """
    kind = file_format(url) or _folder_format(url, patience)
    if kind == "run":
        return _read_checkpoint(f"{url}/checkpoints/{_best_checkpoint(url, patience)}", averaged, patience)
    if kind == "checkpoint":
        return _read_checkpoint(url, averaged, patience)
    if averaged and kind != "torch":
        raise _no_averages(url)
    with _local_copy(url, patience) as path:
        if kind != "savedmodel":
            _check_content(path, url)
        if kind == "safetensors":
            return _read_safetensors(path, url)
        if kind == "torch":
            from scenerec.models.weights import torch_weights

            tensors, arch = torch_weights.read(path, url, averaged)
            return _weight_file(url, tensors, arch, None, kind)
        from scenerec.models.weights import tf_weights

        return _weight_file(url, *tf_weights.read(path, url), kind)


def is_there(url: str) -> bool:
    """Whether there is a file, or a folder with anything in it, at `url`. Raises StorageError."""
    folder, key = split_url(url)
    return open_storage(folder).size(key) is not None or next(open_storage(url).list(), None) is not None


def write_weights(
    url: str,
    kind: str,
    state: State,
    arch: str,
    classes: int,
    image_size: int,
    origin: Origin | None = None,
    preprocessing: WeightPreprocessing = IMAGENET,
) -> int:
    """Write a state that fits `arch`, and replace what has the same name; returns the size in bytes.

    Args:
        url: where, a local path or s3://.
        kind: a format as in `WeightFile.format`.
        state: neutral.
        arch: name of the architecture.
        classes: number of its logits.
        image_size: side in pixels; Keras models take images of this size alone.
        origin: what the weights began as, which safetensors say.
        preprocessing: what the weights expect of the pixels, which safetensors say.

    Raises:
        ModelError: the network cannot be built, or the state does not fit it.
        CheckpointError: it would ruin a checkpoint of a run.
        StorageError: the store does not answer.
    """
    if kind in ("safetensors", "checkpoint"):
        metadata = {"arch": arch, "classes": str(classes), "image_size": str(image_size), "scenerec": __version__}
        metadata |= preprocessing.metadata | (origin.metadata if origin else {})
        content = save({key: np.ascontiguousarray(array) for key, array in state.items()}, metadata)
        folder, key = (url, MODEL_FILE) if kind == "checkpoint" else split_url(url)
        storage = open_storage(folder)
        if kind == "checkpoint" and storage.size(STATE_FILE) is not None:
            raise CheckpointError(f"{url}: is a run's checkpoint, which must stay as it is: name another folder")
        storage.put(key, content)
        return len(content)
    with tempfile.TemporaryDirectory(prefix="scenerec-") as folder:
        path = Path(folder) / split_url(url)[1]
        try:
            if kind == "torch":
                from scenerec.models.weights import torch_weights

                torch_weights.write(path, state, arch, classes)
            else:
                from scenerec.models.weights import tf_weights

                tf_weights.write(path, kind, state, arch, classes, image_size)
        except (OSError, RuntimeError) as error:  # torch says of a full disk that its writer failed
            raise StorageError(f"{path}: {first_line(error)} (TMPDIR names another place for it)") from None
        return _upload(path, url)


def head_classes(state: Mapping[str, np.ndarray], arch: str) -> int | None:
    """Number of classes, the first axis of the head's weight; None where the state has no head of `arch`."""
    weight = state.get(f"{zoo.architecture(arch).head}.weight")
    return None if weight is None or not weight.ndim or not weight.size else int(weight.shape[0])


def _folder_format(url: str, patience: Patience) -> str:
    storage = open_storage(url, patience)
    for file, kind in (("saved_model.pb", "savedmodel"), (MODEL_FILE, "checkpoint")):
        if storage.size(file) is not None:
            return kind
    if list_checkpoints(open_storage(f"{url}/checkpoints", patience)):
        return "run"
    raise ModelError(
        f"{url}: no weights are there: name a {SUFFIXES} file, a SavedModel, a checkpoint or a run's folder"
    )


def _best_checkpoint(run_url: str, patience: Patience) -> str:
    checkpoints = open_storage(f"{run_url}/checkpoints", patience)
    best = best_checkpoint(checkpoints)
    if best is None:
        newest = list_checkpoints(checkpoints)[-1]
        raise CheckpointError(f"{run_url}: the run has no best checkpoint yet: name one, as {checkpoints.url}/{newest}")
    return best


def _read_checkpoint(url: str, averaged: bool, patience: Patience) -> WeightFile:
    """A folder of model.safetensors and, unless `write_weights` wrote it, what else a run saves."""
    storage = open_storage(url, patience)
    run = _read_state_file(storage)
    if averaged and AVERAGES_FILE not in run["files"]:
        raise _no_averages(url)
    weights = _read_checkpoint_file(storage, MODEL_FILE, run, patience)
    if averaged:  # of the parameters, and of the running statistics where the run estimated them for the averages
        averages = _read_checkpoint_file(storage, AVERAGES_FILE, run, patience)
        weights = replace(weights, state=weights.state | averages.state)
    if config := run.get("config"):
        weights = replace(weights, arch=config["model"]["arch"], image_size=config["data"]["image_size"])
    return replace(weights, format="checkpoint")


def _read_state_file(storage: Storage) -> JsonObject:
    state = read_json(storage, STATE_FILE)
    if state is None:
        return {"files": {}}
    if state.get("version") != 1 or not isinstance(state.get("files"), dict):
        raise CheckpointError(f"{storage.url}/{STATE_FILE}: not a checkpoint of this version of scenerec")
    return state


def _read_checkpoint_file(storage: Storage, file: str, run: JsonObject, patience: Patience) -> WeightFile:
    url = f"{storage.url}/{file}"
    with _local_copy(url, patience) as path:
        if file in run["files"] and file_sha256(path) != run["files"][file]["sha256"]:
            raise CheckpointError(f"{url}: checksum mismatch: the file is damaged, take another checkpoint")
        return _read_safetensors(path, url)


def _check_content(path: Path, url: str) -> None:
    """Refuses by name what people have in the place of weights. Raises ModelError, StorageError."""
    if path.exists() and not path.is_file():
        what = "is a folder, not a file of weights" if path.is_dir() else "is a pipe or a device, not a file"
        raise ModelError(f"{url}: {what}")
    try:
        problem = foreign_content(path)
    except OSError as error:
        raise StorageError(f"{url}: cannot be read: {error.strerror or error}") from None
    if problem:
        raise ModelError(f"{url}: {problem}")


def _read_safetensors(path: Path, url: str) -> WeightFile:
    tensors, metadata = safetensors_weights.read(path, url)
    size = metadata.get("image_size", "")
    known_size = int(size) if size.isdecimal() and len(size) <= _MOST_DIGITS else None
    return _weight_file(url, tensors, metadata.get("arch"), known_size, "safetensors")


def _weight_file(
    url: str, tensors: Mapping[str, np.ndarray], arch: str | None, image_size: int | None, kind: str
) -> WeightFile:
    """Finite floating-point tensors of any width, under torch's names of any time."""
    names = {key: current_name(key) for key in tensors}
    if twice := clash(names):
        keys = " and ".join(map(shown_key, twice))
        raise ModelError(f"{url}: {keys} are the same tensor of a network: save one of them alone")
    named = {names[key]: array.astype(np.float32, copy=False) for key, array in tensors.items()}
    odd = next((key for key, array in named.items() if not np.isfinite(array).all()), None)
    if odd is not None:
        what = "holds values that are no finite float32 numbers: take weights from before that"
        raise ModelError(f"{url}: {shown_key(odd)} {what}")
    left_out = tuple(key for key in named if key.startswith(_AUXILIARY_HEADS))
    state = {key: array for key, array in named.items() if key not in left_out}
    known = arch if arch and zoo.find_architecture(arch) else None
    return WeightFile(state, known, image_size, kind, left_out, wrappers(tensors))


def _no_averages(url: str) -> ModelError:
    return ModelError(f"{url}: holds no averaged weights")


@contextmanager
def _local_copy(url: str, patience: Patience) -> Iterator[Path]:
    """The file or folder at `url`; for as long as the context lasts where it had to be fetched."""
    storage = open_storage(url, patience)
    if isinstance(storage, LocalStorage):
        if not storage.root.exists():
            raise NotFoundError(f"{url}: no such file")
        yield storage.root
        return
    with tempfile.TemporaryDirectory(prefix="scenerec-") as temporary:
        folder, name = split_url(url)
        copy = LocalStorage(Path(temporary))
        if file_format(url):
            copy.put(name, open_storage(folder, patience).get(name))
        else:
            for info in storage.list():
                copy.put(f"{name}/{info.key}", storage.get(info.key))
        yield Path(temporary) / name


def _upload(path: Path, url: str) -> int:
    """Put a local file or folder to `url`; returns its size in bytes."""
    if path.is_file():
        files = {"": path}
        folder, name = split_url(url)
    else:
        files = {file.relative_to(path).as_posix(): file for file in sorted(path.rglob("*")) if file.is_file()}
        folder, name = url, ""
    storage = open_storage(folder)
    for key, file in files.items():
        storage.put(key or name, file)
    return sum(file.stat().st_size for file in files.values())

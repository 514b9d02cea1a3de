"""A bundle: a folder with a model and all that one needs to use it; `bundle.json` says what and lists checksums.

    model.onnx           the network (or model.tflite); beyond 2 GB beside it model.onnx.data
    MODEL_CARD.md        what it is for, what it began as, how good it is, and how it is run, for people
    golden.safetensors   a few prepared images and the logits they must give: a new version proves itself by them
    bundle.json          goes last; a folder without it is no bundle

Nothing in a bundle is ever unpickled or executed but the model itself.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from scenerec.errors import BundleError, NotFoundError
from scenerec.frozen import parse_json
from scenerec.inference.bundles.info import MODEL_FILES, BundleInfo, FileInfo
from scenerec.storage import IMPATIENT, LocalStorage, Patience, file_sha256, open_storage

INFO_FILE = "bundle.json"
"""Name of the file that makes a folder a bundle."""
GOLDEN_FILE = "golden.safetensors"
"""Name of the file with the golden images and logits."""


CARD_FILE = "MODEL_CARD.md"
"""Name of the file that describes the model to people; bundles that are older than it have none."""
NOT_OF_THE_MODEL = frozenset({GOLDEN_FILE, CARD_FILE})
"""Files of a bundle that are not the model itself."""


@dataclass(frozen=True)
class Golden:
    """Prepared images, and what the model answers to them."""

    images: np.ndarray
    """Images, uint8 RGB [n, image_size, image_size, 3]."""
    logits: np.ndarray
    """Answers, float32 [n, classes]."""
    coordinates: np.ndarray | None = None
    """Where they were taken, float32 [n, 3], NaN where that is not known; None where none are."""

    def to_bytes(self) -> bytes:
        """Returns the content of golden.safetensors."""
        tensors = {"images": self.images, "logits": self.logits, "coordinates": self.coordinates}
        return save_tensors({name: np.ascontiguousarray(each) for name, each in tensors.items() if each is not None})


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are on this machine and were verified."""

    folder: Path
    """Folder of this machine with the bundle's files."""
    info: BundleInfo
    """Content of bundle.json."""
    url: str
    """Address that the bundle was opened from."""

    @property
    def model_file(self) -> Path:
        """Path of the ONNX or TFLite file."""
        return self.folder / MODEL_FILES[self.info.format]

    @property
    def model_bytes(self) -> int:
        """Bytes of the model on disk."""
        return sum(info.size_bytes for name, info in self.info.files.items() if name not in NOT_OF_THE_MODEL)

    @cached_property
    def golden(self) -> Golden:
        """Golden images and logits. Raises BundleError where they cannot be read."""
        try:
            tensors = load_tensors((self.folder / GOLDEN_FILE).read_bytes())
            return Golden(tensors["images"], tensors["logits"], tensors.get("coordinates"))
        except (OSError, KeyError, SafetensorError) as error:
            raise BundleError(f"{self.url}/{GOLDEN_FILE}: {error}") from None


def check_place(url: str) -> list[str]:
    """Lists the files of the bundle that one written to `url` replaces, bundle.json first; none where it is empty.

    Raises BundleError where something else than a bundle is there, StorageError.
    """
    storage = open_storage(url)
    replaced = [INFO_FILE, *read_info(url).files] if storage.size(INFO_FILE) is not None else []
    if present := next((info for info in storage.list() if info.key not in replaced), None):
        raise BundleError(f"{url}: holds {present.key}, which is of no bundle: export to another place")
    return replaced


def write_bundle(url: str, info: BundleInfo, files: Mapping[str, bytes | Path]) -> BundleInfo:
    """Writes a bundle to a folder or s3:// prefix, in place of one that is there.

    Returns `info` with the files' checksums. Raises BundleError where something else than a bundle is there,
    StorageError.
    """
    storage = open_storage(url)
    for name in check_place(url):  # bundle.json first: while its files change it is no bundle
        storage.delete(name)
    described = {name: _describe(content) for name, content in files.items()}
    for name, content in files.items():
        storage.put(name, content)
    complete = info.model_copy(update={"files": described})
    storage.put(INFO_FILE, complete.model_dump_json(indent=1).encode())
    return complete


def read_info(url: str, patience: Patience = IMPATIENT) -> BundleInfo:
    """Reads bundle.json alone; a store is waited for as long as `patience` says.

    Raises BundleError where there is none or it is not one, StorageError where the store does not answer.
    """
    storage = open_storage(url, patience)
    try:
        content = storage.get(INFO_FILE)
    except NotFoundError:
        raise BundleError(f"{url}: not a bundle ({INFO_FILE} is missing): make one with `scenerec export`") from None
    return parse_json(BundleInfo, content, f"{url}/{INFO_FILE}: not a bundle of this version of scenerec", BundleError)


def read_card(url: str) -> str:
    """Reads a bundle's model card. Raises BundleError where it has none, StorageError."""
    try:
        return open_storage(url).get(CARD_FILE).decode()
    except NotFoundError:
        raise BundleError(f"{url}: has no {CARD_FILE}, as it is older than them: export it again") from None


def open_bundle(url: str, patience: Patience = IMPATIENT) -> Bundle:
    """Verifies the bundle in a folder or s3:// prefix, from which it is fetched first, and returns it.

    A store is waited for as long as `patience` says.

    Raises:
        BundleError: it is truncated, changed, or not a bundle; the message names the file.
        StorageError: the store does not answer.
    """
    info = read_info(url, patience)
    needed = {MODEL_FILES[info.format], GOLDEN_FILE}
    if missing := needed - info.files.keys():
        raise BundleError(f"{url}/{INFO_FILE}: does not list {sorted(missing)[0]}: export it again")
    folder = _fetch(url, info, patience) if url.startswith("s3://") else Path(open_storage(url).url)
    for name, expected in info.files.items():
        _verify(url, folder / name, expected)
    return Bundle(folder, info, url)


def _fetch(url: str, info: BundleInfo, patience: Patience) -> Path:
    """The folder of this process with the bundle's files; those that are there already do not come again."""
    storage = open_storage(url, patience)
    digest = hashlib.sha256(info.model_dump_json().encode()).hexdigest()[:24]
    copy = LocalStorage(Path(_process_cache().name) / digest)
    for name, expected in info.files.items():
        if copy.size(name) == expected.size_bytes:
            continue
        try:
            content = storage.get(name)
        except NotFoundError:
            raise BundleError(f"{url}/{name}: is missing: export the bundle again") from None
        copy.put(name, content)
    return copy.root


@cache
def _process_cache() -> "tempfile.TemporaryDirectory[str]":
    """The folder of the bundles that this process fetches, which goes when it ends."""
    return tempfile.TemporaryDirectory(prefix="scenerec-bundles-")


def _describe(content: bytes | Path) -> FileInfo:
    if isinstance(content, Path):
        return FileInfo(size_bytes=content.stat().st_size, sha256=file_sha256(content))
    return FileInfo(size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def _verify(url: str, path: Path, expected: FileInfo) -> None:
    where = f"{url}/{path.name}"
    if not path.is_file():
        raise BundleError(f"{where}: is missing: export the bundle again")
    if path.stat().st_size != expected.size_bytes:
        raise BundleError(
            f"{where}: has {path.stat().st_size} bytes instead of {expected.size_bytes}: truncated or replaced"
        )
    if file_sha256(path) != expected.sha256:
        if url.startswith("s3://"):
            path.unlink()  # our copy: the next attempt fetches it again
        raise BundleError(f"{where}: its checksum is not the one in {INFO_FILE}: it was changed after the export")

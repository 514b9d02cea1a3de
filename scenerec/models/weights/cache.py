"""Downloaded weights in the store, at OUTPUT/.weights, so that neither a cluster nor a further run downloads again."""

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urldefrag, urlsplit

from scenerec.errors import ModelError, NotFoundError, first_line
from scenerec.models.weights.download import DownloadError, download, temporary_file
from scenerec.models.weights.formats import SUFFIXES, file_format
from scenerec.models.weights.published import PublishedWeights
from scenerec.storage import IMPATIENT, LocalStorage, Patience, file_sha256, open_storage

_FOLDER = ".weights"
_CHECKSUM = ".sha256"  # of the file beside each; its content is what `sha256sum` prints
_CHUNK_BYTES = 16 << 20
_HUB = "https://huggingface.co"
_POINTER = re.compile(rb"^oid sha256:([0-9a-f]{64})$", re.MULTILINE)
_ODD = re.compile(r"[^\w.=+-]")  # in the name of a file
_LONGEST_NAME = 100
_DIGITS = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True)
class RemoteFile:
    """A file of weights on the web.

    Attributes:
        url: where it is, http or https.
        file: what it is called in the cache; ends in a suffix that `file_format` knows.
        sha256: first hexadecimal digits of its checksum; "" where none was published.
        pointer: where its git-LFS pointer is, which tells the checksum; "" where there is none.
    """

    url: str
    file: str
    sha256: str = ""
    pointer: str = ""

    def with_checksum(self) -> "RemoteFile":
        """The same with the checksum that its pointer tells; as it is where no pointer can be had."""
        if self.sha256 or not self.pointer:
            return self
        with tempfile.TemporaryDirectory(prefix="scenerec-") as folder, suppress(DownloadError):
            download(self.pointer, path := Path(folder) / "pointer")
            if told := _POINTER.search(path.read_bytes()):
                return replace(self, sha256=told.group(1).decode())
        return self


def published_file(weights: PublishedWeights) -> RemoteFile:
    """The file of published weights; of those on the Hugging Face hub from where HF_ENDPOINT says, a mirror's address.

    The hub keeps large files by git-LFS, whose pointers have their checksums.
    """
    if not weights.url.startswith(_HUB):
        return RemoteFile(weights.url, weights.file, weights.sha256)
    url = (os.environ.get("HF_ENDPOINT") or _HUB).rstrip("/") + weights.url.removeprefix(_HUB)
    return RemoteFile(url, weights.file, weights.sha256, url.replace("/resolve/", "/raw/"))


def file_of_url(url: str, field: str = "model.weights") -> RemoteFile:
    """The file at any URL, which may end in a checksum, `#sha256=DIGITS`. Errors name the config's `field`.

    Its name in the cache tells apart files of the same name on several servers.

    Raises:
        ModelError: the URL does not tell a format, or the checksum is none.
    """
    try:
        address, fragment = urldefrag(url)
        name = PurePosixPath(unquote(urlsplit(address).path)).name
    except ValueError as error:  # such as of an IPv6 address without its bracket
        raise ModelError(f"{field}: {url}: {first_line(error)}") from None
    if file_format(name) is None:
        raise ModelError(f"{field}: {address}: must end in the name of a {SUFFIXES} file")
    digits = fragment.removeprefix("sha256=").lower()
    if fragment and not (fragment.startswith("sha256=") and _DIGITS.fullmatch(digits)):
        raise ModelError(f"{field}: {url}: #{fragment} is no checksum such as #sha256=11ad3fa6")
    stem, dot, suffix = _ODD.sub("-", name)[-_LONGEST_NAME:].partition(".")
    return RemoteFile(address, f"{stem}-{hashlib.sha256(address.encode()).hexdigest()[:8]}{dot}{suffix}", digits)


class WeightCache:
    """The cache of all runs that share an output.

    Beside each file stands its checksum, seen when it came; it is compared at each use. Errors name the config's
    `field`.
    """

    def __init__(self, output: str, patience: Patience = IMPATIENT, field: str = "model.weights") -> None:
        self.storage = open_storage(f"{output}/{_FOLDER}", patience)
        self.field = field

    def url(self, remote: RemoteFile) -> str:
        """The address in the cache at which the file is, or belongs."""
        return f"{self.storage.url}/{remote.file}"

    @contextmanager
    def fetch(self, remote: RemoteFile) -> Iterator[Path]:
        """A verified copy as in `read`; what the cache lacks is downloaded, and kept if the context ends without error.

        Raises:
            ModelError: it cannot be downloaded, or its checksum is not the expected one.
            StorageError: the store does not answer.
        """
        if self.storage.size(remote.file) is not None:
            with self.read(remote) as path:
                yield path
                if self._recorded(remote) is None:  # put there by hand
                    self._record(remote, file_sha256(path))
            return
        with tempfile.TemporaryDirectory(prefix="scenerec-") as folder:
            path = Path(folder) / remote.file
            remote = remote.with_checksum()
            try:
                download(remote.url, path)
            except DownloadError as error:
                reason = f"could not download {remote.url} ({error})"
                raise ModelError(f"{self.field}: {reason}: put the file at {self.url(remote)}") from None
            digest = file_sha256(path)
            if problem := self._mismatch(remote, digest):
                raise ModelError(
                    f"{self.field}: {remote.url}: {problem}: nothing was kept; try again, or put the right file at "
                    f"{self.url(remote)}"
                )
            yield path
            self.storage.put(remote.file, path)
            self._record(remote, digest)

    @contextmanager
    def read(self, remote: RemoteFile) -> Iterator[Path]:
        """A verified copy on this machine for as long as the context lasts; without any network but the store's.

        Raises:
            ModelError: it is not in the cache, or damaged.
            StorageError: the store does not answer.
        """
        with self._local_copy(remote) as path:
            if problem := self._mismatch(remote, file_sha256(path)):
                raise ModelError(
                    f"{self.field}: {self.url(remote)}: is damaged: {problem}: delete it and submit again, which "
                    "downloads it anew"
                )
            yield path

    @contextmanager
    def _local_copy(self, remote: RemoteFile) -> Iterator[Path]:
        size_bytes = self.storage.size(remote.file)
        if size_bytes is None:
            raise ModelError(
                f"{self.field}: {self.url(remote)}: is not there: submit the job again, which downloads {remote.url}"
            )
        if isinstance(self.storage, LocalStorage):
            yield self.storage.root / remote.file
            return
        with tempfile.TemporaryDirectory(prefix="scenerec-") as folder:
            path = Path(folder) / remote.file
            with temporary_file(path) as write:
                for start in range(0, size_bytes, _CHUNK_BYTES):
                    write(self.storage.get_range(remote.file, start, _CHUNK_BYTES))
            yield path

    def _mismatch(self, remote: RemoteFile, digest: str) -> str | None:
        """What is wrong with a file of this checksum."""
        if not digest.startswith(remote.sha256):
            return f"its sha256 is {digest[:16]}..., not {remote.sha256[:16]}... as published"
        recorded = self._recorded(remote)
        if recorded not in (None, digest):
            return f"its sha256 is {digest[:16]}..., not what {self.url(remote)}{_CHECKSUM} says of the first one"
        return None

    def _recorded(self, remote: RemoteFile) -> str | None:
        """The checksum that was seen when the file came."""
        try:
            return self.storage.get(f"{remote.file}{_CHECKSUM}").decode(errors="replace").split()[0]
        except (NotFoundError, IndexError):
            return None

    def _record(self, remote: RemoteFile, digest: str) -> None:
        self.storage.put(f"{remote.file}{_CHECKSUM}", f"{digest}  {remote.file}\n".encode())

"""Bundles on this node's disk: its replicas fetch a version once, and then start without the store.

Each lies in a folder, on which whoever uses it holds a shared lock. To remove one takes the lock alone, so that nothing
is removed that is in use; the lock of a process that is killed goes with it.
"""

import fcntl
import getpass
import hashlib
import os
import re
import shutil
import tempfile
import weakref
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from scenerec.errors import BundleError, StorageError
from scenerec.inference.bundles.bundle import INFO_FILE, Bundle, open_bundle
from scenerec.inference.bundles.info import BundleInfo
from scenerec.storage import LocalStorage, open_storage
from serve.rollout.assignment import Placement

_NAME_DIGITS = 32
_NAME = re.compile(rf"[0-9a-f]{{{_NAME_DIGITS}}}")


def cache_folder() -> Path:
    """The folder of bundles on this node: $SCENEREC_BUNDLE_CACHE, else one of this user's below the temporary folder.

    Raises BundleError where it belongs to another user.
    """
    given = os.environ.get("SCENEREC_BUNDLE_CACHE")
    folder = Path(given) if given else Path(tempfile.gettempdir()) / f"scenerec-bundles-{getpass.getuser()}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.getuid():
        raise BundleError(f"{folder}: belongs to another user: set SCENEREC_BUNDLE_CACHE")
    return folder


def digest_of(url: str) -> str:
    """SHA-256 of a bundle's bundle.json. Raises NotFoundError, StorageError."""
    return hashlib.sha256(open_storage(url).get(INFO_FILE)).hexdigest()


def cache_bytes() -> int:
    """The most bytes of bundles that are kept on this node: $SCENEREC_BUNDLE_CACHE_GB, else 20 GB.

    Raises BundleError where that is no number.
    """
    given = os.environ.get("SCENEREC_BUNDLE_CACHE_GB") or "20"
    try:
        return int(float(given) * 1e9)
    except (ValueError, OverflowError):
        raise BundleError(f"SCENEREC_BUNDLE_CACHE_GB {given}: is no number of GB, such as 20") from None


def open_placement(placement: Placement, cache: Path) -> Bundle:
    """The bundle of a placement, verified; from the cache where it is in it, without asking the store.

    Its files stay in the cache as long as the Bundle that is returned is referred to, whatever other processes fetch.
    Raises BundleError where it is another bundle than was meant, or damaged; StorageError.
    """
    folder = cache / placement.digest[:_NAME_DIGITS]
    try:
        hold = _hold(folder)
    except OSError as error:  # it says nothing of the bundle
        raise StorageError(
            f"{cache}: {error.strerror}: set SCENEREC_BUNDLE_CACHE to a folder of this node's own disk"
        ) from None
    try:
        bundle = _open_kept(placement, folder) or _fetch(placement, folder)
    except BaseException:
        os.close(hold)
        raise
    weakref.finalize(bundle, os.close, hold)
    return bundle


def _open_kept(placement: Placement, folder: Path) -> Bundle | None:
    """The bundle as it lies in the cache; None where it does not, or is damaged."""
    info_file = folder / INFO_FILE
    if info_file.is_file() and hashlib.sha256(info_file.read_bytes()).hexdigest() == placement.digest:
        try:
            return replace(open_bundle(str(folder)), url=placement.url)
        except BundleError:
            info_file.unlink(missing_ok=True)  # damaged on this disk: it is fetched again
    return None


def _fetch(placement: Placement, folder: Path) -> Bundle:
    origin = open_storage(placement.url)
    content = origin.get(INFO_FILE)
    if hashlib.sha256(content).hexdigest() != placement.digest:
        raise BundleError(f"{placement.url}: was replaced by another bundle: versions of a registry never change")
    info = BundleInfo.model_validate_json(content)
    _make_room(folder.parent, len(content) + sum(file.size_bytes for file in info.files.values()))
    copy = LocalStorage(folder)  # it writes in one step: another replica may be doing the same
    for name in info.files:
        copy.put(name, origin.get(name))
    copy.put(INFO_FILE, content)  # last: with it the folder is complete
    return replace(open_bundle(str(folder)), url=placement.url)


def _hold(folder: Path) -> int:
    """Makes the folder, and keeps it from being removed until what is returned is closed, or this process ends."""
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            if folder.exists():  # and is no folder; else it was there, and was removed before mkdir looked at it
                raise
            continue
        with suppress(FileNotFoundError):
            hold = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(hold, fcntl.LOCK_SH)
                if os.path.samestat(os.fstat(hold), folder.stat()):  # else it was removed meanwhile
                    os.utime(folder)
                    return hold
            except BaseException:
                os.close(hold)
                raise
            os.close(hold)


def _make_room(cache: Path, size_bytes: int) -> None:
    """Removes the bundles that were opened longest ago and that nobody holds, until so much fits into `cache_bytes`.

    Replicas that fetch two versions in the same moment may go beyond it by one of them, until the next is fetched.
    """
    sweeping = os.open(cache, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(sweeping, fcntl.LOCK_EX)  # one process at a time, or each would remove as much
        folders = [path for path in cache.iterdir() if _NAME.fullmatch(path.name)]
        folders.sort(key=lambda path: path.stat().st_mtime_ns)
        sizes = {path: _size_of(path) for path in folders}
        room = cache_bytes() - sum(sizes.values())
        for path in folders:
            if room >= size_bytes:
                return
            if _remove(path):
                room += sizes[path]
    finally:
        os.close(sweeping)


def _size_of(folder: Path) -> int:
    """Bytes of a folder to which others may write."""
    size = 0
    for file in folder.iterdir():
        with suppress(FileNotFoundError):
            size += file.stat().st_size
    return size


def _remove(folder: Path) -> bool:
    """Removes a folder that nobody holds; whether it did."""
    alone = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    except OSError:  # held, or of a disk that fails
        return False
    finally:
        os.close(alone)
    return True

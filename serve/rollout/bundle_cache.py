"""Bundles on this node's disk: its replicas fetch a version once, and then start without the store."""

import getpass
import hashlib
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from scenerec.errors import BundleError
from scenerec.inference.bundles.bundle import INFO_FILE, Bundle, open_bundle
from scenerec.inference.bundles.info import BundleInfo
from scenerec.storage import LocalStorage, open_storage
from serve.rollout.assignment import Placement


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


def open_placement(placement: Placement, cache: Path) -> Bundle:
    """The bundle of a placement, verified; from the cache where it is in it, without asking the store.

    Raises BundleError where it is another bundle than was meant, or damaged; StorageError.
    """
    folder, origin = cache / placement.digest[:32], open_storage(placement.url)
    info_file = folder / INFO_FILE
    if info_file.is_file() and hashlib.sha256(info_file.read_bytes()).hexdigest() == placement.digest:
        try:
            return replace(open_bundle(str(folder)), url=placement.url)
        except BundleError:
            info_file.unlink(missing_ok=True)  # damaged on this disk: it is fetched again
    content = origin.get(INFO_FILE)
    if hashlib.sha256(content).hexdigest() != placement.digest:
        raise BundleError(f"{placement.url}: was replaced by another bundle: versions of a registry never change")
    info = BundleInfo.model_validate_json(content)
    copy = LocalStorage(folder)  # it writes in one step: another replica may be doing the same
    for name in info.files:
        copy.put(name, origin.get(name))
    copy.put(INFO_FILE, content)  # last: with it the folder is complete
    return replace(open_bundle(str(folder)), url=placement.url)

"""The images that sets have already: a table in the store, which each process that packs reads once.

Two million of them are 40 MB. Sent with each task, as a dictionary, they would be 100 MB a thousand times over.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from scenerec.data.contents import DIGEST_BYTES
from scenerec.data.packing.raw_set import ProblemKind
from scenerec.storage import Storage, open_storage

_KEPT_TABLES = 2  # in a process: images may be added to several splits at once


class Twin(NamedTuple):
    """Where an image is already, and what that means for adding it."""

    kind: ProblemKind
    """`duplicate`: it is left out. `leaked`: it is added and listed."""
    detail: str
    """Where it is, for people."""


class KnownImages:
    """Twins by `image_digest`, in 20 bytes each.

    Args:
        digests: uint8 [images, 16], in rising order.
        places: of each the index of its twin in `twins`, int32 [images].
        twins: all that occur: there are as many as classes and splits.
    """

    def __init__(self, digests: np.ndarray, places: np.ndarray, twins: tuple[Twin, ...]) -> None:
        self._digests, self._places, self._twins = digests, places, twins
        self._ordered = digests.view(f"S{DIGEST_BYTES}").ravel()

    def get(self, digest: bytes) -> Twin | None:
        """The twin of an image with this `image_digest`; None where none is known."""
        at = int(np.searchsorted(self._ordered, np.frombuffer(digest, self._ordered.dtype)[0]))
        if at == len(self._digests) or self._digests[at].tobytes() != digest:
            return None
        return self._twins[self._places[at]]


def write_known(storage: Storage, name: str, known: Mapping[bytes, Twin]) -> str:
    """Writes a table that `read_known` reads; returns its key, `NAME-CHECKSUM.npz`. Raises StorageError."""
    twins = tuple(dict.fromkeys(known.values()))
    index = {twin: place for place, twin in enumerate(twins)}
    digests = np.frombuffer(b"".join(known), np.uint8).reshape(-1, DIGEST_BYTES)
    places = np.fromiter((index[twin] for twin in known.values()), np.int32, len(known))
    order = np.argsort(digests.view(f"S{DIGEST_BYTES}").ravel(), kind="stable")
    buffer = io.BytesIO()
    words = np.frombuffer(json.dumps(twins).encode(), np.uint8)
    np.savez(buffer, digests=digests[order], places=places[order], twins=words)
    key = f"{name}-{hashlib.sha256(buffer.getvalue()).hexdigest()[:8]}.npz"
    storage.put(key, buffer.getvalue())
    return key


@lru_cache(_KEPT_TABLES)
def read_known(url: str, key: str) -> KnownImages:
    """The table that lies in the store at `url`; it is fetched once by each process. Raises StorageError."""
    with np.load(io.BytesIO(open_storage(url).get(key))) as table:
        twins = tuple(Twin(kind, detail) for kind, detail in json.loads(table["twins"].tobytes()))
        return KnownImages(table["digests"], table["places"], twins)

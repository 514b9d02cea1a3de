"""The samples of every global batch that a run was trained on: `samples/` in its folder, where data.log_samples is set.

Each rank notes what the batches held that it was given, and before each checkpoint writes an object of the steps since
the one before: `step-000000008-rank-0-of-2.jsonl.gz`, a line a step. A resume drops what lies behind its checkpoint. So
the log of a run that was killed at any time, and went on with any number of workers, is that of the steps that made its
weights, each once.
"""

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from scenerec.data.order import batch_positions
from scenerec.errors import CheckpointError
from scenerec.storage import Storage
from scenerec.world import World

_KEY = re.compile(r"step-(\d{9,})-rank-(\d+)-of-(\d+)\.jsonl\.gz")
_GZIP = 16 + zlib.MAX_WBITS
_LEVEL = 1  # the names are alike: more compression takes ten times as long


class GlobalBatch(NamedTuple):
    """What one optimizer step was trained on."""

    epoch: int
    """Epoch, from 0."""
    step: int
    """Step in the epoch, from 0."""
    samples: Sequence[str]
    """Shard and key of each sample of the global batch, in the data order."""


class SampleLog:
    """What one rank was trained on since the last checkpoint, in memory as it will be written."""

    def __init__(self, storage: Storage, world: World) -> None:
        self.storage, self.world = storage, world
        self._first: int | None = None
        self._lines = bytearray()

    def add(self, global_step: int, batch: GlobalBatch) -> None:
        """Notes this rank's share of the global batch that made step `global_step` of the run, from 0."""
        if self._first is None:
            self._first = global_step
            self._compressor = zlib.compressobj(_LEVEL, wbits=_GZIP)
        self._lines += self._compressor.compress(f"{json.dumps(batch._asdict())}\n".encode())

    def write(self) -> None:
        """Writes what was noted since the last call: before the checkpoint of these steps. Raises StorageError."""
        if self._first is not None:
            key = f"step-{self._first:09d}-rank-{self.world.rank}-of-{self.world.size}.jsonl.gz"
            self.storage.put(key, bytes(self._lines + self._compressor.flush()))
        self._first, self._lines = None, bytearray()


def discard_samples(storage: Storage, steps: int) -> None:
    """Drops from the log in `storage` what attempts have added that got beyond the first `steps` steps of the run."""
    for key in [info.key for info in storage.list("step-")]:
        if (match := _KEY.fullmatch(key)) and int(match[1]) >= steps:
            storage.delete(key)


def logged_batches(storage: Storage, steps: int) -> Iterator[GlobalBatch]:
    """Yields the global batches of the first `steps` optimizer steps of a run, from the log in `storage`.

    With the steps of a checkpoint these are the batches that made its weights, in their order. Raises CheckpointError
    where the log lacks a step, or a rank's share of it; StorageError.
    """
    parts: dict[int, dict[int, str]] = {}
    sizes: dict[int, int] = {}
    for info in storage.list("step-"):
        if match := _KEY.fullmatch(info.key):
            first, rank, size = map(int, match.groups())
            parts.setdefault(first, {})[rank] = info.key
            sizes[first] = size
    done = 0
    while done < steps:
        ranks = range(sizes.get(done, 0))
        if not ranks or parts[done].keys() != set(ranks):
            raise CheckpointError(
                f"{storage.url}: the log lacks step {done} of the run, or a rank's share of it: was data.log_samples "
                "set from the beginning?"
            )
        shares = [_shares(storage, parts[done][rank]) for rank in ranks]
        for of_step in zip(*shares, strict=True):
            if done < steps:
                yield _joined(of_step)
            done += 1


def _shares(storage: Storage, key: str) -> list[GlobalBatch]:
    """The lines of one rank. Raises CheckpointError where they are damaged."""
    try:
        lines = zlib.decompress(storage.get(key), wbits=_GZIP).splitlines()
        return [GlobalBatch(**json.loads(line)) for line in lines]
    except (zlib.error, ValueError, TypeError) as error:
        raise CheckpointError(f"{storage.url}/{key}: is damaged: {error}") from None


def _joined(shares: Sequence[GlobalBatch]) -> GlobalBatch:
    """The global batch of the shares of all ranks."""
    step, size = shares[0].step, sum(len(share.samples) for share in shares)
    positions = [batch_positions(step, size, rank, len(shares)) for rank in range(len(shares))]
    names = [name for share in shares for name in share.samples]
    return shares[0]._replace(samples=[names[at] for at in np.argsort(np.concatenate(positions))])

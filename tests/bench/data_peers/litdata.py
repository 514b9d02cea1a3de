"""Lightning's litData, from its own chunks of encoded images on the local disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from litdata import StreamingDataLoader, StreamingDataset, optimize

from tests.bench.data_peers.tensors import counted, decoded, on_tensors, processes
from tests.bench.data_ways import BATCH, Work


def litdata(work: Work) -> Iterator[int]:
    """Its chunks are made in the first turn, which is only to warm up."""
    chunks = Path(work.folder, "litdata")
    if not chunks.exists():
        files = [str(file) for file in sorted(Path(work.folder, "images").rglob("*.jpg"))]
        optimize(_sample, files, str(chunks), chunk_bytes="64MB", num_workers=1, verbose=False)
    transform = on_tensors(work)

    def prepared(sample: Any) -> tuple[torch.Tensor, int]:
        return transform(decoded(sample[0])), sample[1]

    workers = processes(work)
    images = StreamingDataset(str(chunks), shuffle=True, seed=work.seed, transform=prepared)
    # Forked, as torch's own: `optimize` has changed the default to spawning, for which all would have to be pickled.
    how = "fork" if workers else None
    yield from counted(StreamingDataLoader(images, batch_size=BATCH, num_workers=workers, multiprocessing_context=how))


def _sample(file: str) -> tuple[bytes, int]:
    return Path(file).read_bytes(), int(Path(file).parent.name.removeprefix("class"))

"""MosaicML's Streaming, from its own shards of encoded images (MDS) on the local disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from streaming import MDSWriter, StreamingDataset
from streaming.base.util import clean_stale_shared_memory
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from tests.bench.data_peers.tensors import counted, decoded, on_tensors, processes
from tests.bench.data_ways import BATCH, Work


def mosaicml(work: Work) -> Iterator[int]:
    """Its shards are made in the first turn, which is only to warm up."""
    shards = Path(work.folder, "mosaicml")
    if not shards.exists():
        with MDSWriter(out=str(shards), columns={"image": "bytes", "label": "int"}) as writer:
            for file in sorted(Path(work.folder, "images").rglob("*.jpg")):
                writer.write({"image": file.read_bytes(), "label": int(file.parent.name.removeprefix("class"))})
    clean_stale_shared_memory()
    workers = processes(work)
    images = _Images(str(shards), on_tensors(work), work.seed)
    yield from counted(DataLoader(images, BATCH, num_workers=workers))


class _Images(StreamingDataset):  # type: ignore[misc]  # its package is not in our environment
    def __init__(self, local: str, transform: v2.Compose, seed: int) -> None:
        super().__init__(local=local, shuffle=True, shuffle_seed=seed, batch_size=BATCH)
        self.transform = transform

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        sample: Any = super().__getitem__(index)
        return self.transform(decoded(sample["image"])), sample["label"]

"""Sets that are packed already, as what a training is chosen for."""

from collections.abc import Mapping

from scenerec.data.manifest import MANIFEST_KEY
from scenerec.data.packed_image import image_size
from scenerec.data.packed_set import PackedSet, open_splits
from scenerec.data.splits import SPLITS
from scenerec.errors import DataError
from scenerec.names import few
from scenerec.storage import open_storage
from scenerec.training.choice.facts import DataFacts, data_facts

_PROBED_IMAGES = 200
_CLASSES = 2


def is_packed(location: str) -> bool:
    """Whether a packed set lies at an address, or those of splits; what is in a store is always one."""
    keys = (MANIFEST_KEY, *(f"{split}/{MANIFEST_KEY}" for split in SPLITS))
    storage = open_storage(location)
    return "://" in location or any(storage.size(key) is not None for key in keys)


class PackedData:
    """The sets of train and val below one address. Raises DataError where they are not there, StorageError."""

    def __init__(self, location: str) -> None:
        sets = open_splits(location)
        if missing := [split for split in ("train", "val") if split not in sets]:
            what = "is one packed set" if "" in sets else f"has no set {missing[0]}"
            raise DataError(
                f"{location}: {what}: name a folder with the packed sets train/ and val/, as `scenerec data pack` "
                "writes them, or the folder of the images"
            )
        if sets["train"].manifest.is_multilabel:
            raise DataError(
                f"{location}: has several labels an image, for which nothing is chosen: write a train.yaml with task: "
                "multilabel (docs/multi-label.md)"
            )
        self.train, self.val = sets["train"].url, sets["val"].url
        self.facts = _facts(sets)
        counts = self.facts.class_counts
        if len(counts) < _CLASSES:
            raise DataError(f"{location}: has one class ({few(list(counts))}), and there is nothing to tell apart")
        self.lines = [
            f"{location}: packed, {len(counts)} classes: {few(list(counts))}",
            f"  {self.facts.images:,} images to learn from, {self.facts.val_images:,} to validate on",
        ]


def _facts(sets: Mapping[str, PackedSet]) -> DataFacts:
    train = sets["train"]
    counts = dict(zip(train.manifest.classes, train.manifest.class_counts.tolist(), strict=True))
    probed = train.read(0)[:_PROBED_IMAGES]
    sides = [min(image_size(sample.image, sample.key)) for sample in probed]
    return data_facts(counts, sets["val"].manifest.samples, sides)

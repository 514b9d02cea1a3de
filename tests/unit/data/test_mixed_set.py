"""Several sets that are trained on as one: exact shares, the same batches for any number of workers."""

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenerec.config.augment import AugmentConfig
from scenerec.config.data import DataConfig
from scenerec.data.manifest import Manifest
from scenerec.data.mixed_set import MixedSet, mix, open_training_set
from scenerec.data.packed_set import PackedSet, open_set
from scenerec.data.stream import Cursor, EncodedBatch, TrainingOrder, training_batches
from scenerec.errors import DataError

ORDER = TrainingOrder(seed=2, lanes=4, global_batch_size=17, epochs=2)
STEPS = 8  # 136 samples in batches of 17


@pytest.fixture
def mixture(scenes: Path) -> PackedSet:
    """100 images with weight 3, 36 with weight 1: 102 and 34 of an epoch's 136."""
    sets = [{"set": f"{scenes}/train", "weight": 3}, {"set": f"{scenes}/val", "weight": 1}]
    return open_training_set(DataConfig.model_validate({"train": sets, "val": f"{scenes}/val"}))


def names(batch: EncodedBatch) -> list[tuple[str, Any]]:
    return list(zip(batch.names, batch.views, strict=True))


def test_sets_have_the_shares_of_their_weights(mixture: PackedSet, scenes: Path) -> None:
    batches = list(training_batches(mixture, ORDER, AugmentConfig()))
    assert len(batches) == 2 * STEPS
    taken = Counter(name for batch in batches for name in batch.names)
    for part, (share, samples) in {"train": (102, 100), "val": (34, 36)}.items():
        of_part = [count for name, count in taken.items() if name.startswith(f"{scenes}/{part}/")]
        assert (sum(of_part), len(of_part)) == (2 * share, samples)
    labels = np.concatenate([batch.labels for batch in batches])
    assert set(np.bincount(labels)) <= {66, 68, 70}  # 25 or 26 and 8 or 9 of each class an epoch


@pytest.mark.parametrize("readers", [2, 3])
def test_readers_share_out_the_same_batches(mixture: PackedSet, readers: int) -> None:
    alone = list(training_batches(mixture, ORDER, AugmentConfig()))
    shares = [list(training_batches(mixture, ORDER, AugmentConfig(), Cursor(), r, readers)) for r in range(readers)]
    for step, batch in enumerate(alone):
        assert Counter(pair for share in shares for pair in names(share[step])) == Counter(names(batch))


def test_a_resumed_stream_goes_on_where_the_first_would_have(mixture: PackedSet) -> None:
    whole = [names(batch) for batch in training_batches(mixture, ORDER, AugmentConfig())]
    resumed = [names(batch) for batch in training_batches(mixture, ORDER, AugmentConfig(), Cursor(1, 3))]
    assert resumed == whole[STEPS + 3 :]


def test_what_all_parts_fetch_is_counted_together(mixture: PackedSet) -> None:
    mixture = pickle.loads(pickle.dumps(mixture))
    for shard in range(len(mixture.manifest.shards)):
        mixture.read(shard)
    assert mixture.fetched.total_bytes == mixture.manifest.size_bytes


def test_a_single_set_in_a_list_is_that_set(scenes: Path) -> None:
    config = DataConfig.model_validate({"train": [{"set": f"{scenes}/train", "weight": 2}], "val": f"{scenes}/val"})
    opened = open_training_set(config)
    assert not isinstance(opened, MixedSet)
    assert opened.manifest.fingerprint == open_set(f"{scenes}/train").manifest.fingerprint


@pytest.mark.parametrize(
    ("rename", "what"),
    [
        (lambda names: ("attic", *names[1:]), "'attic' is in one of them only"),
        (lambda names: names[::-1], "the order differs"),
    ],
)
def test_sets_of_other_classes_are_refused(scenes: Path, rename: Any, what: str) -> None:
    train, val = open_set(f"{scenes}/train"), open_set(f"{scenes}/val")
    renamed = Manifest.model_validate({**dict(val.manifest), "classes": rename(val.manifest.classes), "places": {}})
    other = PackedSet(val.storage, renamed, val.url)
    with pytest.raises(DataError, match=rf"data\.train: the classes of .*/val are not those of .*/train \({what}\)"):
        mix([(train, 1.0), (other, 1.0)])

"""The stream of encoded images: what the data order says, from any step on, for any number of readers."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from shutil import copy

import numpy as np
import pytest

from scenerec.config.augment import AugmentConfig
from scenerec.data.byte_count import ByteCount
from scenerec.data.manifest import write_manifest
from scenerec.data.packed_set import PackedSet, check_images, open_set
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.data.stream import (
    Cursor,
    EncodedBatch,
    TrainingOrder,
    statistics_batches,
    training_batches,
    validation_batches,
)
from scenerec.errors import DataError
from scenerec.storage import open_storage

ORDER = TrainingOrder(seed=5, lanes=12, global_batch_size=24, epochs=2)
BALANCED = TrainingOrder(seed=5, lanes=4, global_batch_size=10, epochs=2, balance=1.0)
REPEATED = TrainingOrder(seed=5, lanes=12, global_batch_size=24, epochs=5, repeats=3)
STEPS = 4  # 100 training samples in batches of 24, or 40 in batches of 10


@pytest.fixture
def train(scenes: Path) -> PackedSet:
    return open_set(f"{scenes}/train")


@pytest.fixture(scope="session")
def long_tailed(scenes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> PackedSet:
    """Some of the training images: 23 of the first class, then 10, 5 and 2."""
    folder = tmp_path_factory.mktemp("long_tailed")
    for classes, images in zip(sorted((scenes_folder / "train").iterdir()), (23, 10, 5, 2), strict=True):
        (folder / "images" / classes.name).mkdir(parents=True)
        for image in sorted(classes.iterdir())[:images]:
            copy(image, folder / "images" / classes.name)
    options = PackOptions(shard_mb=0.01)
    pack(PackRequest(source=folder / "images", destination=str(folder / "packed"), options=options))
    return open_set(str(folder / "packed"))


def names(batches: Iterable[EncodedBatch]) -> list[list[str]]:
    return [batch.names for batch in batches]


def test_the_set_has_several_shards(train: PackedSet) -> None:
    assert len(train.manifest.shards) >= 4


def test_an_epoch_has_each_sample_once_except_the_tail(train: PackedSet) -> None:
    epoch = [name for batch in names(training_batches(train, ORDER, AugmentConfig()))[:STEPS] for name in batch]
    assert len(epoch) == len(set(epoch)) == STEPS * 24


@pytest.fixture(params=["as it is", "balanced", "repeated", "balanced and repeated"])
def run(request: pytest.FixtureRequest, train: PackedSet, long_tailed: PackedSet) -> tuple[PackedSet, TrainingOrder]:
    """A set, and the order of a run over it."""
    match request.param:
        case "as it is":
            return train, ORDER
        case "balanced":
            return long_tailed, BALANCED
        case "repeated":
            return train, REPEATED
    return long_tailed, replace(BALANCED, repeats=3, epochs=4)


@pytest.mark.parametrize("readers", [2, 3, 4, 8])
def test_readers_share_out_the_same_batches(run: tuple[PackedSet, TrainingOrder], readers: int) -> None:
    alone = list(training_batches(*run, AugmentConfig()))
    shares = [list(training_batches(*run, AugmentConfig(), reader=r, readers=readers)) for r in range(readers)]
    for step, batch in enumerate(alone):
        together = [pair for share in shares for pair in zip(share[step].names, share[step].views, strict=True)]
        assert Counter(together) == Counter(zip(batch.names, batch.views, strict=True))


@pytest.mark.parametrize("start", [Cursor(0, 3), Cursor(1, 0), Cursor(1, 2)])
def test_a_resumed_stream_goes_on_where_the_first_would_have(
    run: tuple[PackedSet, TrainingOrder], start: Cursor
) -> None:
    whole = list(training_batches(*run, AugmentConfig()))
    resumed = list(training_batches(*run, AugmentConfig(), start))
    rest = whole[start.epoch * STEPS + start.step :]
    assert [(b.names, b.views, b.labels.tolist()) for b in resumed] == [
        (b.names, b.views, b.labels.tolist()) for b in rest
    ]


def test_each_image_of_a_batch_comes_repeatedly_and_of_a_round_in_one_epoch(train: PackedSet) -> None:
    batches = list(training_batches(train, REPEATED, AugmentConfig()))
    assert all(set(Counter(batch.names).values()) == {3} for batch in batches)
    assert all(len(set(batch.views)) == 24 for batch in batches)  # each time another crop
    epochs = [{n for batch in batches[e * STEPS :][:STEPS] for n in batch.names} for e in range(REPEATED.epochs)]
    assert [len(epoch) for epoch in epochs] == [STEPS * 8] * 5
    assert len(set().union(*epochs[:3])) == 3 * STEPS * 8
    assert not epochs[3] & epochs[4]
    assert epochs[3] not in epochs[:3]


def test_readers_of_repeated_images_fetch_their_own_shards_alone(train: PackedSet) -> None:
    """Four readers divide the eight images of a batch; five do not, and go through all shards."""
    order = replace(REPEATED, epochs=3, lanes=4)
    fetched = {}
    for readers in (1, 4, 5):
        data = replace(train, fetched=ByteCount())
        for reader in range(readers):
            list(training_batches(data, order, AugmentConfig(), reader=reader, readers=readers))
        fetched[readers] = data.fetched.total_bytes
    assert fetched[1] <= fetched[4] <= 2 * fetched[1] < 4 * fetched[1] < fetched[5]


def test_a_balanced_epoch_has_as_many_of_each_class(long_tailed: PackedSet) -> None:
    order = TrainingOrder(seed=0, lanes=4, global_batch_size=10, epochs=1, balance=1.0)
    batches = list(training_batches(long_tailed, order, AugmentConfig()))
    assert np.bincount(np.concatenate([batch.labels for batch in batches])).tolist() == [10, 10, 10, 10]
    repeated = Counter(name for batch in batches for name in batch.names)
    assert sorted(repeated.values()) == [1] * 10 + [1] * 10 + [2] * 5 + [5] * 2
    views = [pair for batch in batches for pair in zip(batch.names, batch.views, strict=True)]
    assert len(set(views)) > len(repeated)  # an image that comes again is cropped anew


def test_statistics_are_of_what_is_trained_on(long_tailed: PackedSet) -> None:
    batches = statistics_batches(long_tailed, 0, 10, 4, 32, 0.875, balance=1.0)
    assert np.bincount(np.concatenate([batch.labels for batch in batches])).tolist() == [10, 10, 10, 10]


@pytest.mark.parametrize("readers", [1, 2, 3, 5])
def test_validation_has_each_sample_once(scenes: Path, readers: int) -> None:
    val = open_set(f"{scenes}/val")
    seen = [n for r in range(readers) for b in names(validation_batches(val, 32, 0.875, 7, r, readers)) for n in b]
    assert len(seen) == len(set(seen)) == val.manifest.samples == 36


@pytest.fixture
def damaged(scenes: Path, tmp_path: Path) -> PackedSet:
    """A copy of the training set in which one image is cut off, in a shard whose checksum says so is right."""
    import hashlib
    import io
    import tarfile

    source, target = open_set(f"{scenes}/train"), open_storage(str(tmp_path / "damaged"))
    shards = list(source.manifest.shards)
    for shard in shards:
        target.put(shard.key, source.storage.get(shard.key))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for index, sample in enumerate(source.read(0)):
            image = sample.image[:200] if index == 1 else sample.image
            for name, content in ((f"{sample.key}.jpg", image), (f"{sample.key}.cls", str(sample.label).encode())):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    content = buffer.getvalue()
    shards[0] = shards[0].model_copy(update={"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})
    target.put(shards[0].key, content)
    write_manifest(target, source.manifest.model_copy(update={"shards": tuple(shards)}))
    return open_set(str(tmp_path / "damaged"))


def test_an_unreadable_image_is_named(damaged: PackedSet) -> None:
    key = damaged.read(0)[1].key
    with pytest.raises(DataError, match=rf"000000\.tar: {key}: cannot be decoded"):
        check_images(damaged, 0)


@pytest.mark.parametrize("framework", ["torch", "tf"])
@pytest.mark.parametrize("threads", [0, 2])
def test_both_input_pipelines_name_an_unreadable_image(damaged: PackedSet, framework: str, threads: int) -> None:
    from scenerec.config.data import DataConfig
    from scenerec.world import World

    if framework == "torch":
        from scenerec.data.torch_input import training_input
    else:
        import torchvision  # noqa: F401 - before tensorflow

        from scenerec.data.tf_input import training_input  # type: ignore[assignment]
    config = DataConfig(train=damaged.storage.url, val=damaged.storage.url, image_size=32)
    key = damaged.read(0)[1].key
    order = TrainingOrder(seed=0, lanes=12, global_batch_size=20, epochs=2)
    with pytest.raises(DataError, match=rf"{key}: cannot be decoded") as caught:
        for _ in training_input(damaged, config, order, World(), Cursor(), threads):
            pass
    assert len(str(caught.value).splitlines()) == 1

"""The log of samples: whatever kills a run, and however many workers go on, it is that of the steps that count."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenerec.config.augment import AugmentConfig
from scenerec.data.packed_set import PackedSet, open_set
from scenerec.data.stream import Cursor, EncodedBatch, TrainingOrder, training_batches, training_cursors
from scenerec.errors import CheckpointError
from scenerec.storage import Storage, open_storage
from scenerec.training.sample_log import GlobalBatch, SampleLog, discard_samples, logged_batches
from scenerec.world import World

ORDER = TrainingOrder(seed=5, lanes=12, global_batch_size=24, epochs=2)
STEPS_PER_EPOCH = 4  # 100 training samples in batches of 24
STEPS = 8
CHECKPOINT_EVERY = 3


@pytest.fixture(scope="module")
def train(scenes: Path) -> PackedSet:
    return open_set(f"{scenes}/train")


@pytest.fixture(scope="module")
def batches(train: PackedSet) -> dict[tuple[int, int], list[EncodedBatch]]:
    """All steps' batches, by rank and number of ranks."""
    return {
        (rank, size): list(training_batches(train, ORDER, AugmentConfig(), reader=rank, readers=size))
        for size in (1, 2, 3, 5)
        for rank in range(size)
    }


def attempt(
    storage: Storage,
    batches: dict[tuple[int, int], list[EncodedBatch]],
    start: int,
    end: int,
    size: int,
    unwritten: frozenset[int] = frozenset(),
) -> int:
    """Trains from step `start` until it is killed after step `end`; returns the step of its newest checkpoint.

    Ranks of `unwritten` are killed at the first checkpoint, before they have written.
    """
    discard_samples(storage, start)
    logs = [SampleLog(storage, World(rank, size)) for rank in range(size)]
    saved = start
    for step in range(start, end):
        cursor = Cursor(*divmod(step, STEPS_PER_EPOCH))
        for rank, log in enumerate(logs):
            log.add(step, GlobalBatch(cursor.epoch, cursor.step, batches[rank, size][step].names))
        if (step + 1) % CHECKPOINT_EVERY == 0 or (step + 1) % STEPS_PER_EPOCH == 0:
            for rank, log in enumerate(logs):
                if rank not in unwritten:
                    log.write()
            if unwritten & set(range(size)):
                return saved
            saved = step + 1
    return saved


@pytest.fixture(scope="module")
def expected(train: PackedSet) -> list[GlobalBatch]:
    """What one process that nothing has interrupted is trained on."""
    cursors = training_cursors(train.manifest.samples, ORDER)
    together = zip(cursors, training_batches(train, ORDER, AugmentConfig()), strict=True)
    return [GlobalBatch(cursor.epoch, cursor.step, batch.names) for cursor, batch in together]


ATTEMPTS = st.lists(
    st.tuples(st.integers(0, STEPS), st.sampled_from([1, 2, 3, 5]), st.frozensets(st.integers(0, 4))), max_size=5
)


@pytest.mark.slow
@settings(max_examples=40)
@given(attempts=ATTEMPTS, last=st.sampled_from([1, 2, 3, 5]))
def test_a_run_that_was_killed_has_the_log_of_one_that_was_not(
    expected: list[GlobalBatch],
    batches: dict[tuple[int, int], list[EncodedBatch]],
    tmp_path_factory: pytest.TempPathFactory,
    attempts: list[tuple[int, int, frozenset[int]]],
    last: int,
) -> None:
    storage = open_storage(str(tmp_path_factory.mktemp("samples")))
    at = 0
    for steps, size, unwritten in attempts:
        at = attempt(storage, batches, at, min(at + steps, STEPS), size, unwritten)
    attempt(storage, batches, at, STEPS, last)
    assert list(logged_batches(storage, STEPS)) == expected


def test_the_log_up_to_a_checkpoint_is_a_part_of_it(
    expected: list[GlobalBatch], batches: dict[tuple[int, int], list[EncodedBatch]], tmp_path: Path
) -> None:
    storage = open_storage(str(tmp_path))
    attempt(storage, batches, 0, STEPS, 2)
    for steps in range(STEPS + 1):
        assert list(logged_batches(storage, steps)) == expected[:steps]


def test_what_the_log_lacks_is_told(batches: dict[tuple[int, int], list[EncodedBatch]], tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    with pytest.raises(CheckpointError, match=r"lacks step 0 of the run.*was data\.log_samples set from the beginning"):
        list(logged_batches(storage, 1))
    attempt(storage, batches, 0, STEPS, 2)
    with pytest.raises(CheckpointError, match="lacks step 8 of the run"):
        list(logged_batches(storage, STEPS + 1))
    storage.delete("step-000000004-rank-1-of-2.jsonl.gz")
    with pytest.raises(CheckpointError, match="lacks step 4 of the run, or a rank's share of it"):
        list(logged_batches(storage, STEPS))
    storage.put("step-000000003-rank-0-of-2.jsonl.gz", b"?")
    with pytest.raises(CheckpointError, match=r"step-000000003-rank-0-of-2\.jsonl\.gz: is damaged"):
        list(logged_batches(storage, 4))


def test_the_same_steps_are_the_same_bytes(batches: dict[tuple[int, int], list[EncodedBatch]], tmp_path: Path) -> None:
    contents = []
    for name in ("first", "second"):
        storage = open_storage(str(tmp_path / name))
        attempt(storage, batches, 0, STEPS, 3)
        contents.append({info.key: storage.get(info.key) for info in storage.list()})
    assert contents[0] == contents[1]
    assert len(contents[0]) == 3 * 4  # checkpoints after steps 3, 4, 6 and 8

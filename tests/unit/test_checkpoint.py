"""Checkpoints: complete or not there, verified, pruned, and saved in the background."""

import json
from pathlib import Path

import numpy as np
import pytest

from scenerec.checkpoint import (
    Checkpoint,
    CheckpointWriter,
    LearnerState,
    RunState,
    best_checkpoint,
    list_checkpoints,
    load_checkpoint,
    prune_checkpoints,
    read_run_state,
    save_checkpoint,
)
from scenerec.epoch_metrics import EpochMetrics
from scenerec.errors import CheckpointError, StorageError
from scenerec.storage import Storage, open_storage


def checkpoint(step: int) -> Checkpoint:
    rng = np.random.default_rng(step)
    weights = {"conv.weight": rng.normal(size=(2, 3, 3, 3)).astype(np.float32), "bn.bias": np.zeros(3, np.float32)}
    run = RunState(
        epoch=step // 10,
        step=step % 10,
        global_step=step,
        identity={"model.arch": "resnet18"},
        plateau={"factor": 1.0, "best_loss": float("inf"), "bad_epochs": 0},
        history=[EpochMetrics(epoch=1, train_loss=1.25, validation={"val_top1": 0.5}, images_per_s=80.0, lr=0.1)],
        partial={"loss": 1.5, "steps": 3, "seconds": 2.0},
        config={"kind": "train"},
        framework="torch",
    )
    learner = LearnerState(
        weights, {"momentum_buffer": {name: -array for name, array in weights.items()}}, dict(weights), step, 1024.0, 7
    )
    return Checkpoint(run, learner)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "checkpoints"))


def test_everything_comes_back_as_it_was(storage: Storage) -> None:
    saved = checkpoint(12)
    assert save_checkpoint(storage, saved) == "step-000000012"
    loaded = load_checkpoint(storage, "step-000000012")
    assert loaded.run == saved.run
    for ours, theirs in (
        (saved.learner.model, loaded.learner.model),
        (saved.learner.ema, loaded.learner.ema),
        (saved.learner.optimizer["momentum_buffer"], loaded.learner.optimizer["momentum_buffer"]),
    ):
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert (loaded.learner.updates, loaded.learner.loss_scale, loaded.learner.good_steps) == (12, 1024.0, 7)


def test_without_its_state_file_there_is_no_checkpoint(storage: Storage) -> None:
    for step in (1, 2):
        save_checkpoint(storage, checkpoint(step))
    storage.delete("step-000000002/state.json")
    assert list_checkpoints(storage) == ["step-000000001"]


def test_a_damaged_file_is_refused(storage: Storage) -> None:
    name = save_checkpoint(storage, checkpoint(1))
    content = bytearray(storage.get(f"{name}/model.safetensors"))
    content[-1] ^= 1
    storage.put(f"{name}/model.safetensors", bytes(content))
    with pytest.raises(CheckpointError, match=r"model\.safetensors: checksum mismatch"):
        load_checkpoint(storage, name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[]", r"state\.json: not a checkpoint of this version"),
        (b'{"version": 2}', r"state\.json: not a checkpoint of this version"),
        (b'{"version": 1, "ep', r"state\.json: is not JSON: it is damaged"),
        (b"\xff\xfe", r"state\.json: is not JSON: it is damaged"),
        (b"[" * 100_000, r"state\.json: is not JSON: it is damaged"),
        (b'{"version": 1}', r"state\.json: has no epoch: it is damaged"),
    ],
)
def test_a_foreign_or_damaged_state_file_is_refused(content: bytes, message: str, storage: Storage) -> None:
    storage.put("step-000000001/state.json", content)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(storage, "step-000000001")
    with pytest.raises(CheckpointError, match=message):
        read_run_state(storage, "step-000000001")


def test_a_damaged_history_is_refused(storage: Storage) -> None:
    name = save_checkpoint(storage, checkpoint(1))
    state = json.loads(storage.get(f"{name}/state.json"))
    storage.put(f"{name}/state.json", json.dumps({**state, "history": [{"epoch": "one"}]}).encode())
    with pytest.raises(CheckpointError, match=r"step-000000001/state\.json: history: "):
        read_run_state(storage, name)


def test_pruning_keeps_the_newest_the_best_and_what_is_being_written(storage: Storage) -> None:
    for step in range(1, 7):
        save_checkpoint(storage, checkpoint(step))
    storage.put("best.json", b'{"checkpoint": "step-000000002", "val_top1": 0.9}')
    storage.delete("step-000000003/state.json")  # what a killed attempt left half written
    storage.put("step-000000009/model.safetensors", b"under way")
    assert prune_checkpoints(storage, keep=2) == ["step-000000001", "step-000000003", "step-000000004"]
    assert list_checkpoints(storage) == ["step-000000002", "step-000000005", "step-000000006"]
    assert storage.size("step-000000009/model.safetensors") == 9


def test_the_writer_saves_in_order_and_names_the_best(storage: Storage) -> None:
    done: list[int] = []
    with CheckpointWriter(storage, keep=2) as writer:
        for step in range(1, 6):
            best = {"val_top1": 0.1 * step} if step == 2 else None
            writer.save(checkpoint(step), best, after=lambda step=step: done.append(step))  # type: ignore[misc]
    assert done == [1, 2, 3, 4, 5]
    assert list_checkpoints(storage) == ["step-000000002", "step-000000004", "step-000000005"]
    assert json.loads(storage.get("best.json")) == {"checkpoint": "step-000000002", "val_top1": 0.2}
    assert best_checkpoint(storage) == "step-000000002"


def test_a_failed_save_is_not_silent(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    storage = open_storage(str(blocked / "checkpoints"))
    with pytest.raises(StorageError, match="Not a directory"), CheckpointWriter(storage, keep=2) as writer:
        writer.save(checkpoint(1))
    with pytest.raises(ZeroDivisionError), CheckpointWriter(storage, keep=2) as writer:
        writer.save(checkpoint(1))
        raise ZeroDivisionError  # comes first: it is the cause that a person must see

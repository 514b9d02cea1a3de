"""Checkpoints that belong to no framework: safetensors keyed by torch's state_dict names, and what else a resume needs.

A checkpoint is a folder `step-000000123/` of model.safetensors, optimizer.safetensors, where they are kept
ema.safetensors and queue.safetensors, and state.json, which goes last and lists the others' checksums: without it there
is no checkpoint.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import MISSING, asdict, dataclass, field, fields

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from scenerec.epoch_metrics import EpochMetrics
from scenerec.errors import CheckpointError, ScenerecError
from scenerec.frozen import first_problem
from scenerec.json_object import JsonObject
from scenerec.storage import Storage, read_json

Tensors = dict[str, np.ndarray]

STATE_FILE = "state.json"
MODEL_FILE = "model.safetensors"
AVERAGES_FILE = "ema.safetensors"
_OPTIMIZER_FILE = "optimizer.safetensors"
_QUEUE_FILE = "queue.safetensors"
BEST_FILE = "best.json"


@dataclass
class LearnerState:
    """Everything that training changes, in neutral terms: float32 arrays in torch's layouts (OIHW, [out, in])."""

    model: Tensors
    """Parameters and running statistics, by torch's state_dict names."""
    optimizer: dict[str, Tensors]
    """The optimizer's arrays by slot (`momentum_buffer`; `exp_avg`, `exp_avg_sq`) and parameter name."""
    ema: Tensors = field(default_factory=dict)
    """Moving averages of the parameters, with BatchNorm's statistics where estimated; empty if none are kept. Of a
    pretraining its momentum encoder."""
    updates: int = 0
    """Optimizer updates made; behind the steps where fp16 overflowed."""
    loss_scale: float = 1.0
    """Loss scale of fp16; 1 in other precisions."""
    good_steps: int = 0
    """Steps since the loss scale last changed."""
    queue: Tensors = field(default_factory=dict)
    """A pretraining's queue: `keys`, [queue, embedding size], and `position`, int64 [1], of the oldest; or empty."""


@dataclass(frozen=True)
class RunState:
    """Where a run is, and what must be the same for it to go on. JSON values."""

    epoch: int
    """Epoch of the next step, from 0."""
    step: int
    """Next step in that epoch, from 0."""
    global_step: int
    """Steps done in the whole run."""
    identity: JsonObject
    """What fixes the sequence of batches and the weights' names and shapes."""
    plateau: JsonObject
    """What the schedule reduce-on-plateau remembers: the fields of its PlateauState."""
    history: list[EpochMetrics]
    """Metrics of the finished epochs, in order."""
    partial: JsonObject
    """Sums over the epoch under way: loss, steps and seconds."""
    config: JsonObject
    """The whole config of the training job."""
    framework: str
    """Framework that wrote it: torch or tensorflow."""
    labels: tuple[str, ...] = ()
    """Class names in order of class index; empty in checkpoints that are older than the field."""
    saved_s: float = 0.0
    """When it was made, in seconds since 1970; 0 in checkpoints that are older than the field."""
    since_line: JsonObject = field(default_factory=dict)
    """The same sums since the newest line of steps.jsonl; empty in checkpoints that are older than the field."""
    origin: JsonObject | None = None
    """What the first weights began as (`scenerec.models.weights.origin.Origin`); None in older checkpoints."""


_STATE_KEYS = (
    *(each.name for each in fields(RunState) if each.default is MISSING and each.default_factory is MISSING),
    *("updates", "loss_scale", "good_steps", "files"),
)


@dataclass(frozen=True)
class Checkpoint:
    """A place to resume from."""

    run: RunState
    """Where the run is."""
    learner: LearnerState
    """What training has changed."""


def checkpoint_name(global_step: int) -> str:
    """Name of the checkpoint after so many steps, such as step-000000123: names sort by step."""
    return f"step-{global_step:09d}"


def save_checkpoint(storage: Storage, checkpoint: Checkpoint) -> str:
    """Writes a checkpoint under `storage` (the run's checkpoints folder) and returns its name. Raises StorageError."""
    name = checkpoint_name(checkpoint.run.global_step)
    learner = checkpoint.learner
    slots = {f"{slot}/{key}": array for slot, tensors in learner.optimizer.items() for key, array in tensors.items()}
    files = {MODEL_FILE: learner.model, _OPTIMIZER_FILE: slots}
    if learner.ema:
        files[AVERAGES_FILE] = learner.ema
    if learner.queue:
        files[_QUEUE_FILE] = learner.queue
    contents = {file: save_tensors(_contiguous(tensors)) for file, tensors in files.items()}
    for file, content in contents.items():
        storage.put(f"{name}/{file}", content)
    state = {
        "version": 1,
        **asdict(checkpoint.run),
        "history": [epoch.as_dict() for epoch in checkpoint.run.history],
        "updates": learner.updates,
        "loss_scale": learner.loss_scale,
        "good_steps": learner.good_steps,
        "files": {
            file: {"size_bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for file, c in contents.items()
        },
    }
    storage.put(f"{name}/{STATE_FILE}", json.dumps(state, indent=1).encode())
    return name


def list_checkpoints(storage: Storage) -> list[str]:
    """Names of the complete checkpoints, oldest first."""
    keys = [info.key for info in storage.list("step-")]
    return sorted(key.removesuffix(f"/{STATE_FILE}") for key in keys if key.endswith(f"/{STATE_FILE}"))


def read_run_state(storage: Storage, name: str) -> RunState:
    """A checkpoint's run state, without its arrays. Raises CheckpointError, StorageError."""
    return _run_state(_read_state(storage, name), f"{storage.url}/{name}")


def load_checkpoint(storage: Storage, name: str) -> Checkpoint:
    """Reads a checkpoint and verifies its checksums. Raises CheckpointError, StorageError."""
    state = _read_state(storage, name)
    tensors: dict[str, Tensors] = {}
    for file, expected in state["files"].items():
        content = storage.get(f"{name}/{file}")
        if hashlib.sha256(content).hexdigest() != expected["sha256"]:
            raise CheckpointError(
                f"{storage.url}/{name}/{file}: checksum mismatch: delete {name} to resume from the one before it"
            )
        try:
            tensors[file] = load_tensors(content)
        except SafetensorError as error:
            raise CheckpointError(f"{storage.url}/{name}/{file}: {error}") from None
    optimizer: dict[str, Tensors] = {}
    for slot_and_key, array in tensors[_OPTIMIZER_FILE].items():
        slot, _, key = slot_and_key.partition("/")
        optimizer.setdefault(slot, {})[key] = array
    learner = LearnerState(
        model=tensors[MODEL_FILE],
        optimizer=optimizer,
        ema=tensors.get(AVERAGES_FILE, {}),
        queue=tensors.get(_QUEUE_FILE, {}),
        updates=state["updates"],
        loss_scale=state["loss_scale"],
        good_steps=state["good_steps"],
    )
    return Checkpoint(_run_state(state, f"{storage.url}/{name}"), learner)


def best_checkpoint(storage: Storage) -> str | None:
    """Name of the best checkpoint, None where none is named yet. Raises StorageError."""
    best = read_json(storage, BEST_FILE, "checkpoint")
    return str(best["checkpoint"]) if best else None


def prune_checkpoints(storage: Storage, keep: int) -> list[str]:
    """Deletes all but the newest `keep` complete checkpoints and the best, and what older attempts left half written.

    Returns the names that went. The state file goes first: a checkpoint is never half there.
    """
    complete = list_checkpoints(storage)
    kept = {*complete[-keep:], best_checkpoint(storage)}
    newest = complete[-1] if complete else ""
    folders: dict[str, list[str]] = {}
    for info in storage.list("step-"):
        folders.setdefault(info.key.split("/")[0], []).append(info.key)
    doomed = sorted(name for name in folders if name not in kept and name < newest)
    for name in doomed:
        for key in sorted(folders[name], key=lambda key: not key.endswith(STATE_FILE)):
            storage.delete(key)
    return doomed


class CheckpointWriter:
    """Saves in the background, one checkpoint at a time: `save` waits only where the one before is still under way."""

    def __init__(self, storage: Storage, keep: int) -> None:
        self.storage = storage
        self.keep = keep
        self.took_s: float | None = None
        """Seconds that the newest save took, with all that follows on it; None before the first."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def save(
        self,
        checkpoint: Checkpoint,
        best: Mapping[str, float] | None = None,
        before: Callable[[], None] | None = None,
        after: Callable[[], None] | None = None,
    ) -> None:
        """Writes `checkpoint`, with `best` (what best.json says beside its name) as the best one.

        Calls `before` and `after` beside it, in the background as well. Raises what the save before it raised.
        """
        self.wait()
        self._pending = self._thread.submit(self._save, checkpoint, best, before, after)

    def wait(self) -> None:
        """Returns when nothing is under way. Raises StorageError where the last save failed."""
        pending, self._pending = self._pending, None
        if pending:
            pending.result()

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Waits, and ends the thread. Raises what the last save raised, unless something else is on its way already."""
        try:
            self.wait()
        except ScenerecError:
            if error is None:
                raise
        finally:
            self._thread.shutdown()

    def _save(
        self,
        checkpoint: Checkpoint,
        best: Mapping[str, float] | None,
        before: Callable[[], None] | None,
        after: Callable[[], None] | None,
    ) -> None:
        began_s = time.monotonic()
        if before:
            before()
        name = save_checkpoint(self.storage, checkpoint)
        if best is not None:
            self.storage.put(BEST_FILE, json.dumps({"checkpoint": name, **best}).encode())
        prune_checkpoints(self.storage, self.keep)
        if after:
            after()
        self.took_s = time.monotonic() - began_s


def _contiguous(tensors: Tensors) -> Tensors:
    return {key: np.ascontiguousarray(array) for key, array in tensors.items()}


def _read_state(storage: Storage, name: str) -> JsonObject:
    where = f"{storage.url}/{name}/{STATE_FILE}"
    try:
        state = json.loads(storage.get(f"{name}/{STATE_FILE}"))
    except (ValueError, RecursionError):
        raise CheckpointError(f"{where}: is not JSON: it is damaged") from None
    if not isinstance(state, dict) or state.get("version") != 1:
        raise CheckpointError(f"{where}: not a checkpoint of this version of scenerec")
    if lacking := next((key for key in _STATE_KEYS if key not in state), None):
        raise CheckpointError(f"{where}: has no {lacking}: it is damaged")
    return state


def _run_state(state: JsonObject, where: str) -> RunState:
    known = {name: state[name] for name in RunState.__dataclass_fields__ if name in state}
    try:
        history = [EpochMetrics.model_validate(epoch) for epoch in state["history"]]
    except ValidationError as error:
        raise CheckpointError(f"{where}/{STATE_FILE}: history: {first_problem(error)}") from None
    return RunState(**{**known, "history": history, "labels": tuple(state.get("labels", ()))})

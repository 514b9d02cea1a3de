"""The loop in both frameworks, bare: the same results, and a resume that changes nothing."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest

from scenerec.checkpoint import LearnerState, Tensors, list_checkpoints, load_checkpoint
from scenerec.config.train import TrainConfig
from scenerec.data.stream import Cursor
from scenerec.epoch_metrics import EpochMetrics
from scenerec.errors import CheckpointError
from scenerec.job_log import EpochSummary, Event, Note, Progress
from scenerec.models.freezing import frozen_names
from scenerec.models.weights.origin import RANDOM, Origin
from scenerec.training.loop import DivergedError, train
from scenerec.training.preflight import check_job
from scenerec.training.run_folder import RunFolder
from scenerec.training.task import ClassificationCounts
from scenerec.world import World
from tests.local_run import (
    FINISHED_RUN,
    LEARNERS,
    FinishedRun,
    check_logged_samples,
    learned_by_step,
    open_job,
)
from tests.matrix import keep

MakeConfig = Callable[..., TrainConfig]
FRAMEWORKS = list(LEARNERS)


def run(config: TrainConfig, stop_after: int | None = None) -> tuple[dict[str, Any], list[Event]]:
    """Trains; with `stop_after`, fails before that step as a killed process would."""
    job = open_job(config)
    learner = LEARNERS[config.framework](job, World())
    if stop_after is not None:
        batches = learner.training_batches
        learner.training_batches = lambda start: _fail_after(batches(start), stop_after)  # type: ignore[method-assign]
    events: list[Event] = []
    return train(job, World(), learner, events.append, lambda metrics: None), events


class KilledError(Exception):
    """Instead of a process's end."""


def matrix(*values: Any) -> Any:
    """A case that `make test` leaves out: docs/testing.md."""
    return pytest.param(*values, marks=pytest.mark.matrix)


def _fail_after(batches: Iterator[Any], count: int) -> Iterator[Any]:
    yield from islice(batches, count)
    raise KilledError


def last_state(config: TrainConfig) -> LearnerState:
    folder = RunFolder(config.run_url).checkpoints
    return load_checkpoint(folder, list_checkpoints(folder)[-1]).learner


def largest_difference(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> float:
    assert ours.keys() == theirs.keys()
    scale = max(float(np.abs(array).max()) for array in ours.values())
    return max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours) / scale


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_run_leaves_what_it_promises(finished_run: Callable[[str], FinishedRun], framework: str) -> None:
    config, result, events = finished_run(framework)
    folder = RunFolder(config.run_url)
    files = {"config.yaml", "metrics.jsonl", "steps.jsonl", "result.json", "tensorboard/events.out.tfevents.scenerec"}
    assert files <= {info.key for info in folder.storage.list()}
    lines = folder.read_steps()
    assert [(line.epoch, line.step, line.global_step) for line in lines] == [
        (1, 4, 4),
        (1, 6, 6),
        (2, 4, 10),
        (2, 6, 12),
    ]
    for epoch in folder.read_history():
        losses = [line.loss for line in lines if line.epoch == epoch.epoch]
        assert epoch.train_loss == pytest.approx((4 * losses[0] + 2 * losses[1]) / 6)
    assert folder.read_result() == result
    assert result["last"]["epoch"] == 2
    assert isinstance(events[0], Note)
    assert [e.epoch for e in events if isinstance(e, EpochSummary)] == [1, 2]
    assert [e.step for e in events if isinstance(e, Progress)] == [1, 2, 3, 4, 5, 6] * 2
    first, *_ = folder.read_history()
    assert 0 < (first.data_wait or 0) < 1
    assert first.fetched_bytes_per_s
    assert list_checkpoints(folder.checkpoints)[-1] == "step-000000012"
    assert len(list_checkpoints(folder.checkpoints)) <= 3
    check_logged_samples(config.run_url)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_killed_run_resumes_to_the_same_end(
    make_config: MakeConfig, finished_run: Callable[[str], FinishedRun], framework: str
) -> None:
    uninterrupted, expected, _ = finished_run(framework)
    config = make_config(name="killed", framework=framework, **FINISHED_RUN)
    with pytest.raises(KilledError):
        run(config, stop_after=9)
    resumed, events = run(config)
    assert isinstance(events[0], Note) and "resumed from step 8 (epoch 2, step 2)" in events[0].text
    ours, theirs = last_state(uninterrupted), last_state(config)
    for name in ("model", "ema"):
        assert largest_difference(getattr(ours, name), getattr(theirs, name)) == 0  # with BatchNorm's statistics
    assert resumed["last"]["train_loss"] == pytest.approx(expected["last"]["train_loss"], rel=1e-4)
    assert resumed["last"]["val_loss"] == pytest.approx(expected["last"]["val_loss"], rel=1e-4)
    assert learned_by_step(config.run_url) == learned_by_step(uninterrupted.run_url)
    check_logged_samples(config.run_url)


@pytest.mark.parametrize("framework", keep({"torch"}, FRAMEWORKS))
def test_a_machine_that_goes_away_costs_no_step(
    make_config: MakeConfig, finished_run: Callable[[str], FinishedRun], framework: str
) -> None:
    """Its checkpoint is of the step at which that was heard, between two of the plan's; what follows is equal."""
    uninterrupted, _, _ = finished_run(framework)
    config = make_config(name="preempted", framework=framework, **FINISHED_RUN)
    job = open_job(config)
    learner = LEARNERS[framework](job, World())
    events: list[Event] = []

    def batches(start: Cursor, batches: Any = learner.training_batches) -> Iterator[Any]:
        for batch in batches(start):
            if goes_away(events):
                raise KilledError
            yield batch

    learner.training_batches = batches  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        train(job, World(), learner, events.append, lambda metrics: None, lambda: True)
    assert goes_away(events) == ["checkpoint of step 1 is written: a machine of this run goes away"]
    _, events = run(config)
    assert isinstance(events[0], Note) and "resumed from step 1 (epoch 1, step 1)" in events[0].text
    ours, theirs = (RunFolder(each.run_url).read_history() for each in (uninterrupted, config))
    assert [learned(epoch) for epoch in ours] == [learned(epoch) for epoch in theirs]
    assert learned_by_step(config.run_url) == learned_by_step(uninterrupted.run_url)
    check_logged_samples(config.run_url)


def goes_away(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Note) and "goes away" in event.text]


def learned(epoch: EpochMetrics) -> tuple[object, ...]:
    return epoch.global_step, epoch.train_loss, epoch.validation, epoch.lr


@pytest.mark.parametrize(
    "optimize",
    [
        {"lr": 0.02, "accumulate_steps": 2, "clip_grad_norm": 0.5, "ema_decay": 0.8, "class_weights": {"beach": 7}},
        matrix({"lr": 0.02, "weight_decay": 1e-3, "label_smoothing": 0.1, "class_weights": {"beach": 7}}),
        matrix({"lr": 0.002, "optimizer": "adamw", "weight_decay": 0.05, "eps": 1e-3}),
    ],
)
def test_both_frameworks_make_the_same_steps(make_config: MakeConfig, optimize: dict[str, Any]) -> None:
    """From the same state each time: a ReLU network with BatchNorm amplifies rounding from step to step.

    Torch alone, with the batch in another order, ends its second step up to a fifth apart in single weights. The rules
    themselves are compared tightly in tests/unit/training/test_optimizers.py.
    """
    compare_steps(make_config, optimize, {})


@pytest.mark.parametrize(
    ("arch", "freeze", "optimize"),
    [
        matrix("resnet18", "backbone", {"lr": 0.02, "weight_decay": 1e-3, "ema_decay": 0.8, "clip_grad_norm": 0.5}),
        matrix(
            "resnet18",
            ["conv1", "bn1", "layer1"],
            {"lr": 0.002, "optimizer": "adamw", "eps": 1e-3, "layer_decay": 0.7},
        ),
        matrix("timm/mobilenetv4_conv_small", ["conv_stem", "bn1", "blocks.0"], {"lr": 0.02, "layer_decay": 0.7}),
        (
            "resnet18",
            ["layer4", "layer2.0.bn1.weight"],
            {"lr": 0.02, "layer_decay": 0.5, "ema_decay": 0.8, "clip_grad_norm": 0.5, "accumulate_steps": 2},
        ),
    ],
)
def test_both_frameworks_freeze_and_decay_alike(
    make_config: MakeConfig, arch: str, freeze: str | list[str], optimize: dict[str, Any]
) -> None:
    """And what is frozen stays bit for bit as it was, with its BatchNorm's statistics; it has no slots, no average."""
    start, ends = compare_steps(make_config, optimize, {"arch": arch, "freeze": freeze})
    names = [name for name in start.model if not name.endswith(("running_mean", "running_var"))]
    frozen = frozen_names(arch, freeze, names)
    modules = {name.rpartition(".")[0] for name in frozen} - {
        name.rpartition(".")[0] for name in names if name not in frozen
    }
    for end in ends:
        still = {name for name in start.model if np.array_equal(start.model[name], end.model[name])}
        assert still == frozen | {name for name in start.model if name.rpartition(".")[0] in modules}
        trained = set(names) - frozen
        assert all(set(tensors) == trained for tensors in end.optimizer.values())
        assert set(end.ema) == (trained if optimize.get("ema_decay") else set())


def compare_steps(
    make_config: MakeConfig, optimize: dict[str, Any], model: dict[str, Any]
) -> tuple[LearnerState, list[LearnerState]]:
    """The first state, and where each framework's third step ended."""
    data = {"image_size": 64, "augment": {"color_jitter": 0.4}}
    jobs = {
        name: open_job(make_config(framework=name, data=data, optimize=optimize, model=model)) for name in FRAMEWORKS
    }
    learners = {name: LEARNERS[name](job, World()) for name, job in jobs.items()}
    batches = {name: learner.training_batches(Cursor()) for name, learner in learners.items()}
    first = learners["torch"].state()
    for _ in range(3):
        start = learners["torch"].state()
        learners["tensorflow"].load_state(start)
        losses = []
        for name, learner in learners.items():
            learner.train_step(next(batches[name]), optimize["lr"])
            losses.append(learner.take_loss())
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
        ours, theirs = learners["torch"].state(), learners["tensorflow"].state()
        assert relative_distance(ours.model, theirs.model, start.model) < 0.15
        for slot, tensors in ours.optimizer.items():
            assert relative_distance(tensors, theirs.optimizer[slot], start.optimizer[slot]) < 0.15
        if optimize.get("ema_decay"):
            assert relative_distance(ours.ema, theirs.ema, start.ema) < 0.15
        assert ours.updates == theirs.updates
    return first, [ours, theirs]


def test_layer_decay_slows_the_lower_blocks(make_config: MakeConfig) -> None:
    """Plain SGD's first step is the learning rate times the gradient: with decay, its factor of the step without."""
    steps = []
    for decay in (1.0, 0.5):
        job = open_job(make_config(optimize={"momentum": 0.0, "layer_decay": decay}))
        learner = LEARNERS["torch"](job, World())
        start = learner.state().model
        learner.train_step(next(learner.training_batches(Cursor())), 0.1)
        steps.append({name: array - start[name] for name, array in learner.state().model.items()})
    whole, slowed = steps
    for name, blocks_above in {"fc.weight": 0, "layer4.1.conv1.weight": 1, "conv1.weight": 9}.items():
        expected = whole[name] * 0.5**blocks_above
        assert np.abs(slowed[name] - expected).max() < 0.01 * np.abs(expected).max() + 1e-7


def relative_distance(ours: Tensors, theirs: Tensors, start: Tensors) -> float:
    """How far apart two steps from `start` ended, over the length of the step (L2 over all tensors)."""
    apart = sum(float(np.square(ours[name] - theirs[name]).sum()) for name in ours)
    moved = sum(float(np.square(ours[name] - start[name]).sum()) for name in ours)
    return (apart / moved) ** 0.5


@pytest.mark.parametrize(("first", "second"), [("tensorflow", "torch"), matrix("torch", "tensorflow")])
def test_a_run_moves_between_frameworks(make_config: MakeConfig, first: str, second: str) -> None:
    """The other framework finds the same state, validates to the same loss, and makes the same next step."""
    options: dict[str, Any] = {
        "data": {"log_samples": True},
        "checkpoint": {"every_steps": 4},
        "optimize": {"ema_decay": 0.8},
    }
    with pytest.raises(KilledError):
        run(make_config(framework=first, **options), stop_after=9)
    saved = last_state(make_config(**options))
    found = {}
    for framework in (first, second):
        job = open_job(make_config(framework=framework, **options))
        learner = LEARNERS[framework](job, World())
        learner.load_state(saved)
        state = learner.state()
        assert largest_difference(state.model, saved.model) == largest_difference(state.ema, saved.ema) == 0
        counts = learner.evaluate(learner.validation_batches())
        assert isinstance(counts, ClassificationCounts)
        assert counts.samples == 36  # each once
        assert 0 <= counts.top1 <= counts.top5 == 36  # four classes: the first five are all of them
        learner.train_step(next(learner.training_batches(Cursor(1, 2))), 0.01)
        found[framework] = (counts.metrics()["val_loss"], learner.take_loss())
    assert found[first] == pytest.approx(found[second], rel=2e-3)
    result, events = run(make_config(framework=second, **options))
    assert isinstance(events[0], Note)
    assert f"step 8 (epoch 2, step 2) on 1 worker(s), written by {first}" in events[0].text
    assert [epoch.framework for epoch in RunFolder(result["run"]).read_history()] == [first, second]
    check_logged_samples(result["run"])


@pytest.mark.parametrize(
    ("arch", "first", "second"),
    [
        ("timm/vit_tiny_patch16_224", "torch", "tensorflow"),
        matrix("timm/mobilenetv4_conv_small", "tensorflow", "torch"),
    ],
)
def test_an_architecture_of_timm_moves_between_frameworks(
    make_config: MakeConfig, arch: str, first: str, second: str
) -> None:
    options: dict[str, Any] = {
        "model": {"arch": arch},
        "optimize": {"lr": 0.001, "layer_decay": 0.8},
        "checkpoint": {"every_steps": 4},
    }
    with pytest.raises(KilledError):
        run(make_config(framework=first, **options), stop_after=9)
    result, events = run(make_config(framework=second, **options))
    assert isinstance(events[0], Note) and f"written by {first}" in events[0].text
    assert np.isfinite(result["last"]["train_loss"]) and result["last"]["epoch"] == 2


@pytest.mark.parametrize(("first", "second"), [("torch", "tensorflow"), matrix("tensorflow", "torch")])
def test_a_linear_probe_moves_between_frameworks(make_config: MakeConfig, first: str, second: str) -> None:
    """Only its head differs from the first weights; with all of it trained the run does not go on."""
    options: dict[str, Any] = {
        "model": {"freeze": "backbone"},
        "optimize": {"ema_decay": 0.8},
        "checkpoint": {"every_steps": 4},
    }
    drawn = LEARNERS[first](open_job(make_config(framework=first, **options)), World()).state()
    with pytest.raises(KilledError):
        run(make_config(framework=first, **options), stop_after=9)
    with pytest.raises(CheckpointError, match=r"another model\.freeze \('backbone', now 'none'\)"):
        run(make_config(framework=second, **{**options, "model": {"freeze": "none"}}))
    result, events = run(make_config(framework=second, **options))
    assert isinstance(events[0], Note) and f"written by {first}" in events[0].text
    assert result["last"]["epoch"] == 2
    final = last_state(make_config(**options))
    differing = {name for name in drawn.model if not np.array_equal(drawn.model[name], final.model[name])}
    assert differing == {"fc.weight", "fc.bias"} == set(final.ema) == set(final.optimizer["momentum_buffer"])


def distilled(teacher: TrainConfig, **optimize: Any) -> dict[str, Any]:
    """Blocks of a run that learns from another one, which is shown larger images."""
    distill = {"teacher": teacher.run_url, "image_size": 48, "weight": 0.8}
    return {
        "data": {"augment": {"color_jitter": 0.4}},
        "model": {"arch": "squeezenet1_1"},
        "optimize": {"lr": 0.002, "ema_decay": 0.9, "accumulate_steps": 2, "distill": distill, **optimize},
        "checkpoint": {"every_steps": 4},
    }


@pytest.mark.parametrize(("framework", "teacher"), [("torch", "tensorflow"), matrix("tensorflow", "torch")])
def test_a_killed_distillation_resumes_to_the_same_end(
    make_config: MakeConfig, finished_run: Callable[[str], FinishedRun], framework: str, teacher: str
) -> None:
    """Bit for bit, from a teacher that the other framework has trained."""
    blocks = distilled(finished_run(teacher).config)
    whole, killed = (make_config(name=name, framework=framework, **blocks) for name in ("whole", "killed"))
    run(whole)
    with pytest.raises(KilledError):
        run(killed, stop_after=9)
    run(killed)
    ours, theirs = last_state(whole), last_state(killed)
    for name in ("model", "ema"):
        assert largest_difference(getattr(ours, name), getattr(theirs, name)) == 0
    histories = [RunFolder(config.run_url).read_history() for config in (whole, killed)]
    assert [learned(epoch) for epoch in histories[0]] == [learned(epoch) for epoch in histories[1]]


@pytest.mark.parametrize(("first", "second"), [("tensorflow", "torch"), matrix("torch", "tensorflow")])
def test_a_distillation_moves_between_frameworks(
    make_config: MakeConfig, finished_run: Callable[[str], FinishedRun], first: str, second: str
) -> None:
    blocks = distilled(finished_run("torch").config, precision="bf16")
    with pytest.raises(KilledError):
        run(make_config(framework=first, **blocks), stop_after=9)
    result, events = run(make_config(framework=second, **blocks))
    assert isinstance(events[0], Note) and f"written by {first}" in events[0].text
    assert np.isfinite(result["last"]["train_loss"])


@pytest.mark.parametrize(
    ("framework", "precision"),
    [("torch", "fp16"), ("tensorflow", "bf16"), matrix("torch", "bf16"), matrix("tensorflow", "fp16")],
)
def test_low_precision_trains(make_config: MakeConfig, framework: str, precision: str) -> None:
    config = make_config(framework=framework, optimize={"precision": precision, "epochs": 1, "global_batch_size": 50})
    result, _ = run(config)
    assert np.isfinite(result["last"]["train_loss"])
    state = last_state(config)
    assert all(array.dtype == np.float32 for array in state.model.values())
    assert state.loss_scale >= 1


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_fp16_skips_a_step_that_overflows(make_config: MakeConfig, framework: str) -> None:
    job = open_job(make_config(framework=framework, optimize={"precision": "fp16"}))
    learner = LEARNERS[framework](job, World())
    state = learner.state()
    state.loss_scale = 2.0**120
    learner.load_state(state)
    learner.train_step(next(learner.training_batches(Cursor())), 0.01)
    after = learner.state()
    assert after.loss_scale == 2.0**119
    assert after.updates == 0
    trained = list(state.optimizer["momentum_buffer"])
    assert all(np.array_equal(state.model[name], after.model[name]) for name in trained)


def test_a_loss_that_is_no_number_stops_the_run(make_config: MakeConfig) -> None:
    with pytest.raises(DivergedError, match=r"lower optimize\.lr"):
        run(make_config(name="diverged", optimize={"lr": 1e30, "epochs": 20}))
    assert learned_by_step(make_config(name="diverged").run_url)  # the curve up to there is kept


def test_another_config_does_not_go_on_from_its_checkpoints(finished_run: Callable[[str], FinishedRun]) -> None:
    config = finished_run("torch").config

    def changed(**blocks: dict[str, Any]) -> TrainConfig:
        document = config.model_dump()
        merged = {name: {**document[name], **values} for name, values in blocks.items()}
        return TrainConfig.model_validate({**document, **merged})

    with pytest.raises(CheckpointError, match="this run is finished"):
        check_job(config)
    assert check_job(changed(optimize={"epochs": 3})).resumes_at == 12
    assert check_job(config, restart=True).resumes_at is None
    with pytest.raises(CheckpointError, match=r"another model\.arch \('mobilenet_v3_small', now 'resnet18'\)"):
        check_job(changed(model={"arch": "resnet18"}, optimize={"epochs": 3}))
    with pytest.raises(CheckpointError, match=r"another optimize\.global_batch_size"):
        check_job(changed(optimize={"global_batch_size": 10, "epochs": 3}))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_run_starts_from_given_weights(
    make_config: MakeConfig, finished_run: Callable[[str], FinishedRun], framework: str
) -> None:
    first = finished_run("torch").config
    weights = f"{RunFolder(first.run_url).checkpoints.url}/step-000000012"
    config = make_config(framework=framework, model={"arch": first.model.arch, "weights": weights})
    job = open_job(config)
    assert job.plan.origin == Origin(RANDOM)  # what the first run began with, by its checkpoint
    state = LEARNERS[framework](job, World()).state()
    assert largest_difference(state.model, last_state(first).model) == 0

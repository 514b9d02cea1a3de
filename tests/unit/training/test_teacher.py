"""Teachers: what a config may name, what is refused before a job starts, and what both frameworks learn from one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from safetensors.numpy import save, save_file

from scenerec.checkpoint import Checkpoint, LearnerState, RunState, save_checkpoint
from scenerec.config.train import TrainingConfig
from scenerec.config.tune import TuneConfig
from scenerec.data.packed_set import open_set
from scenerec.data.packing.pack import PackRequest, pack
from scenerec.data.packing.pack_plan import PackOptions
from scenerec.data.stream import Cursor
from scenerec.data.synthetic import draw_scenes
from scenerec.data.torch_input import normalize
from scenerec.epoch_metrics import EpochMetrics
from scenerec.errors import CheckpointError, PlanError, ScenerecError
from scenerec.inference.bundles.registry import Registry
from scenerec.inference.predictors.onnx_predictor import OnnxPredictor
from scenerec.models import torch_model
from scenerec.models.geo import GeoSpec
from scenerec.models.preprocessing import IMAGENET, WeightPreprocessing
from scenerec.search.plan import check_search
from scenerec.storage import open_storage
from scenerec.training import tf_teacher, torch_teacher
from scenerec.training.learner import TrainingJob
from scenerec.training.preflight import check_job
from scenerec.training.run_folder import check_identity, run_identity
from scenerec.training.teacher import planned_teacher
from scenerec.world import World
from tests.local_run import LEARNERS, open_job
from tests.tiny_bundle import LABELS, make_tiny_bundle
from tests.web import WebServer

ARCH = "squeezenet1_1"
MakeTeacher = Callable[..., str]


@pytest.fixture
def make_teacher(tmp_path: Path, scenes: Path) -> MakeTeacher:
    """A run with one checkpoint, whose network is drawn by a seed."""
    classes = open_set(f"{scenes}/train").manifest.classes

    def make(
        name: str = "teacher",
        seed: int = 7,
        labels: tuple[str, ...] = classes,
        pretrains: bool = False,
        geo: GeoSpec | None = None,
        data: dict[str, Any] | None = None,
    ) -> str:
        state = torch_model.state(torch_model.build(ARCH, len(labels), seed, geo))
        config = {
            "name": name,
            "model": {"arch": ARCH, "geo": geo.model_dump() if geo else None},
            "data": {"image_size": 48, "eval_crop_ratio": 0.875, "val": "/val", **(data or {})},
        }
        history = [EpochMetrics(epoch=1, validation={"val_loss": 1.0, "val_top1": 0.5})]
        run = RunState(
            1, 0, 6, {"classes": 0 if pretrains else len(labels)}, {}, history, {}, config, "tensorflow", labels
        )
        checkpoints = open_storage(f"{tmp_path}/runs/{name}/checkpoints")
        written = save_checkpoint(checkpoints, Checkpoint(run, LearnerState(state, {})))
        checkpoints.put("best.json", f'{{"checkpoint": "{written}"}}'.encode())
        return f"{tmp_path}/runs/{name}"

    return make


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packed scenes of three classes, whose names are the tiny bundle's in another order."""
    folder = tmp_path_factory.mktemp("colours")
    drawn = folder / "images"
    draw_scenes(drawn, classes=3, train_per_class=6, val_per_class=4, size=32, seed=3)
    (drawn / "places.csv").unlink()  # of the scenes' own names
    for split in ("train", "val"):
        for scene, colour in zip(sorted((drawn / split).iterdir()), sorted(LABELS), strict=True):
            scene.rename(scene.with_name(colour))
    pack(PackRequest(source=drawn, destination=f"{folder}/packed", options=PackOptions()))
    return folder / "packed"


def distill(teacher: str, **settings: Any) -> dict[str, Any]:
    return {"distill": {"teacher": teacher, **settings}}


def softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def kl_divergences(taught: np.ndarray, logits: np.ndarray, temperature: float) -> np.ndarray:
    """The loss in float64, as the paper writes it."""
    theirs, ours = softmax(taught / temperature), softmax(logits / temperature)
    return temperature**2 * (theirs * (np.log(theirs) - np.log(ours))).sum(axis=1)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_loss_and_its_gradient_are_the_papers(temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits, taught = (5 * rng.normal(size=(16, 10)) for _ in range(2))
    expected = kl_divergences(taught, logits, temperature)
    slope = temperature * (softmax(logits / temperature) - softmax(taught / temperature))

    ours = torch.tensor(logits, dtype=torch.float32, requires_grad=True)
    losses = torch_teacher.distillation_losses(ours, torch.tensor(taught, dtype=torch.float32), temperature)
    losses.sum().backward()
    np.testing.assert_allclose(losses.detach().numpy(), expected, rtol=1e-5)
    assert ours.grad is not None
    np.testing.assert_allclose(ours.grad.numpy(), slope, atol=1e-5)

    with tf.GradientTape() as tape:
        theirs = tf.constant(logits, tf.float32)
        tape.watch(theirs)
        losses = tf_teacher.distillation_losses(theirs, tf.constant(taught, tf.float32), temperature)
    np.testing.assert_allclose(losses.numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(losses, theirs).numpy(), slope, atol=1e-5)


@pytest.mark.slow
def test_both_frameworks_learn_the_same_from_a_teacher_of_another_size_order_and_normalisation(
    make_config: Any, make_teacher: MakeTeacher, scenes: Path
) -> None:
    """And the first loss is what NumPy makes of the logits."""
    classes = open_set(f"{scenes}/train").manifest.classes
    teacher = make_teacher(labels=classes[::-1], data={"mean": [0.5, 0.4, 0.3], "std": [0.5, 0.25, 0.2]})
    taught = distill(teacher, temperature=3, weight=0.7)
    weights = {classes[0]: 3.0}
    optimize = {**taught, "global_batch_size": 8, "label_smoothing": 0.1, "class_weights": weights}
    losses = {}
    for framework, make_learner in LEARNERS.items():
        data = {"augment": {"color_jitter": 0.4}}
        job = open_job(make_config(framework=framework, data=data, optimize=optimize))
        learner = make_learner(job, World())
        if framework == "torch":
            expected = _expected_loss(job, learner)
        learner.train_step(next(learner.training_batches(Cursor())), 0.1)
        losses[framework] = learner.take_loss()
    assert losses["torch"] == pytest.approx(losses["tensorflow"], rel=1e-5)
    assert losses["torch"] == pytest.approx(expected, rel=1e-5)


def _expected_loss(job: TrainingJob, learner: Any) -> float:
    """Of the first batch, by the formula."""
    batch = next(learner.training_batches(Cursor()))
    pixels = normalize(batch.images, colors=batch.colors)
    own = WeightPreprocessing(mean=(0.5, 0.4, 0.3), std=(0.5, 0.25, 0.2))
    channels = [torch.tensor(each).view(3, 1, 1) for each in (IMAGENET.std, IMAGENET.mean, own.mean, own.std)]
    shown = (pixels * channels[0] + channels[1] - channels[2]) / channels[3]
    shown = torch.nn.functional.interpolate(shown, (48, 48), mode="bilinear", antialias=True)
    with torch.no_grad():
        logits = torch_model.build("resnet18", 4, job.config.optimize.seed)(pixels).double().numpy()
        taught = torch_model.build(ARCH, 4, seed=7).eval()(shown).double().numpy()[:, ::-1]
    targets = 0.9 * np.eye(4)[batch.labels.numpy()] + 0.1 / 4
    by_labels = -(targets * np.log(softmax(logits))).sum(axis=1)
    weights = np.array(list(job.plan.class_weights.values()))[batch.labels.numpy()]
    return float(np.mean(weights * (0.3 * by_labels + 0.7 * kl_divergences(taught, logits, 3))))


def test_a_bundle_teaches_both_frameworks_and_needs_no_labels(
    make_config: Any, colours: Path, scenes: Path, tmp_path: Path
) -> None:
    """The training images are of other classes than those that are learned, which are the validation set's."""
    bundle = make_tiny_bundle(tmp_path / "tiny", precision="int8")
    half = WeightPreprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    config = make_config(
        data={"val": f"{colours}/val", "image_size": 32, "mean": half.mean, "std": half.std},
        model={"arch": ARCH},
        optimize=distill(bundle.url, weight=1, temperature=2),
    )
    job = open_job(config)
    assert job.classes == tuple(sorted(LABELS)) and job.plan.classes == 3 and job.plan.teacher is not None
    assert "a bundle (int8) at 8 px" in str(job.plan.teacher) and "no label is read" in str(job.plan.teacher)
    assert "brought into the order of the data" in dict(job.plan.rows())["teacher"]
    learner = LEARNERS["torch"](job, World())
    batch = next(learner.training_batches(Cursor()))
    learner.train_step(batch._replace(labels=torch.full_like(batch.labels, 999)), 0.1)  # which no class is
    assert np.isfinite(learner.take_loss())

    pixels = normalize(batch.images, preprocessing=half)
    small = torch.nn.functional.interpolate(batch.images.float(), (8, 8), mode="bilinear", antialias=True)
    images = small.round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    expected = OnnxPredictor(bundle).logits(images)[:, [LABELS.index(name) for name in job.classes]]
    ours = torch_teacher.TorchTeacher(job, torch.device("cpu"), torch.float32)(pixels).numpy()
    teacher = tf.function(tf_teacher.TfTeacher(job, tf.float32))
    theirs = teacher(tf.constant(pixels.permute(0, 2, 3, 1).numpy())).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    np.testing.assert_allclose(ours, expected, atol=0.05 / 32)  # of 64 pixels one or two are rounded otherwise


@pytest.mark.slow
def test_a_teacher_may_be_named_in_many_ways(
    make_config: Any, make_teacher: MakeTeacher, colours: Path, tmp_path: Path, web: WebServer
) -> None:
    def planned(teacher: str, **settings: Any) -> Any:
        return check_job(make_config(optimize=distill(teacher, **settings))).plan.teacher

    run = make_teacher()
    by_run = planned(run)
    assert by_run.address == f"{run}/checkpoints/step-000000006"
    assert by_run == planned(f"{run}/checkpoints/step-000000006")
    assert (by_run.network, by_run.image_size, by_run.order) == (ARCH, 48, "same")
    assert planned(run, image_size=32).image_size == 32
    located = planned(make_teacher("located", geo=GeoSpec(width=8, blocks=1)))
    assert located.digest == by_run.digest  # of one that reads coordinates, what sees images teaches

    state = torch_model.state(torch_model.build(ARCH, 4, seed=7))
    save_file(state, tmp_path / "w.safetensors")
    by_file = planned(f"{tmp_path}/w.safetensors", arch=ARCH)
    assert by_file.digest == by_run.digest  # it is the same network, wherever it lies
    assert (by_file.image_size, by_file.order) == (224, "unknown")
    url = web.serve("/w.safetensors", save(state, {"arch": ARCH, "image_size": "64"}))
    by_url = planned(url)
    assert (by_url.digest, by_url.image_size) == (by_run.digest, 64)
    web.stop()
    assert planned(url) == by_url  # from the store

    registry, tiny = Registry(f"{tmp_path}/registry"), make_tiny_bundle(tmp_path / "tiny")
    registry.push(tiny, "tiny")
    registry.move("tiny", "production", 1, "by hand", expected=None)
    data = {"train": f"{colours}/train", "val": f"{colours}/val"}
    for name in ("tiny@production", "tiny:1"):
        config = make_config(data=data, optimize=distill(f"{tmp_path}/registry/{name}"))
        plan = check_job(config).plan.teacher
        assert plan is not None and plan.address == f"{tmp_path}/registry/tiny/1"


@pytest.mark.parametrize(
    ("teacher", "settings", "problem"),
    [
        ("gone", {}, "teacher: FOLDER/gone: nothing is there: name a run's folder"),
        ("registry/tiny@production", {}, "teacher: FOLDER/registry: no model tiny"),
        ("gone.safetensors", {"arch": ARCH}, "gone.safetensors: no such file"),
        ("runs/teacher/checkpoints/step-000000009", {}, "step-000000009: nothing is there"),
        ("tiny", {}, "teacher: FOLDER/tiny: its 3 classes are not the 4 of the data (it lacks "),
        ("tiny", {"image_size": 32}, "image_size: the bundle FOLDER/tiny takes images of 8 px only: leave it out"),
        ("tiny", {"arch": "resnet18"}, "arch: the bundle FOLDER/tiny needs none: leave it out"),
        ("runs/backbone", {}, "step-000000006: is of a pretraining, which knows no classes: train a head"),
        ("runs/teacher", {"arch": "resnet18"}, "step-000000006 is a squeezenet1_1: leave it out"),
        ("runs/teacher", {"image_size": 16}, "image_size: squeezenet1_1 takes images of at least 17 px, not 16"),
        ("w.safetensors", {}, "arch: FOLDER/w.safetensors does not tell its architecture: name it"),
        ("w.safetensors", {"arch": ARCH}, "teacher: FOLDER/w.safetensors: has 5 classes, and the data 4"),
        ("w.safetensors", {"arch": "resnet18"}, "FOLDER/w.safetensors: has no head fc"),
    ],
)
def test_what_cannot_teach_is_refused_before_the_job_starts(
    make_config: Any, make_teacher: MakeTeacher, tmp_path: Path, teacher: str, settings: dict[str, Any], problem: str
) -> None:
    make_teacher()
    make_teacher("backbone", pretrains=True)
    make_tiny_bundle(tmp_path / "tiny")
    save_file(torch_model.state(torch_model.build(ARCH, 5, seed=1)), tmp_path / "w.safetensors")
    config = make_config(optimize=distill(f"{tmp_path}/{teacher}", **settings))
    with pytest.raises(ScenerecError) as raised:
        check_job(config)
    message = str(raised.value).replace(str(tmp_path), "FOLDER")
    assert message.startswith("optimize.distill.") and "\n" not in message
    assert problem in message


def test_other_classes_are_no_fault_where_no_label_is_read(make_config: Any, colours: Path, tmp_path: Path) -> None:
    make_tiny_bundle(tmp_path / "tiny")
    data = {"val": f"{colours}/val"}
    with pytest.raises(PlanError, match=r"data\.val: its classes are not those of data\.train"):
        check_job(make_config(data=data, optimize=distill(f"{tmp_path}/tiny", weight=0.99)))
    assert check_job(make_config(data=data, optimize=distill(f"{tmp_path}/tiny", weight=1))).plan.classes == 3


def test_a_search_refuses_what_some_of_its_trials_could_not_learn_from(
    make_config: Any, make_teacher: MakeTeacher, colours: Path, tmp_path: Path
) -> None:
    make_tiny_bundle(tmp_path / "tiny")

    def check(axis: str, values: Any, val: str = "", **settings: Any) -> None:
        job = make_config(data={"val": val} if val else {}, optimize=distill(**settings)).model_dump(mode="json")
        base = {name: block for name, block in job.items() if name in TrainingConfig.model_fields}
        search = {f"optimize.distill.{axis}": values}
        document = {"kind": "tune", "name": "search", "base": base, "search": search, "trials": 2}
        check_search(TuneConfig.model_validate({**document, "output": f"{tmp_path}/runs"}))

    check("weight", {"uniform": [0.5, 1]}, teacher=make_teacher())
    with pytest.raises(PlanError, match=r"optimize\.distill\.teacher: .*/tiny: its 3 classes are not the 4"):
        check("teacher", [make_teacher(), f"{tmp_path}/tiny"], teacher=make_teacher())
    with pytest.raises(PlanError, match=r"data\.val: its classes are not those of data\.train"):
        check("weight", [0.5, 1], f"{colours}/val", teacher=f"{tmp_path}/tiny", weight=1)


def test_a_run_goes_on_with_its_teacher_alone(make_config: Any, make_teacher: MakeTeacher, tmp_path: Path) -> None:
    def identity(teacher: str | None, **settings: Any) -> dict[str, Any]:
        config = make_config(optimize=distill(teacher, **settings) if teacher else {})
        return run_identity(config, 12, 4, "f", check_job(config).plan.teacher)

    run = make_teacher()
    stored = identity(run)
    check_identity("runs/x", stored, identity(run, temperature=2, weight=0.5))
    check_identity("runs/x", stored, identity(make_teacher("copy")))
    with pytest.raises(CheckpointError, match=r"another optimize\.distill\.teacher \('[0-9a-f]{16}', now '"):
        check_identity("runs/x", stored, identity(make_teacher("other", seed=8)))
    without = identity(None)
    with pytest.raises(CheckpointError, match=r"another optimize\.distill\.teacher \('[0-9a-f]{16}', now None\)"):
        check_identity("runs/x", stored, without)
    del without["optimize.distill.teacher"]  # as in checkpoints from before there was one
    check_identity("runs/x", without, identity(None))


def test_a_teacher_that_changes_under_a_job_is_noticed(make_config: Any, make_teacher: MakeTeacher) -> None:
    job = open_job(make_config(optimize=distill(make_teacher())))
    assert job.plan.teacher is not None
    planned_teacher(job.config, job.plan.teacher)
    make_teacher(seed=8)
    with pytest.raises(CheckpointError, match="has changed since the job was planned: submit the job again"):
        planned_teacher(job.config, job.plan.teacher)

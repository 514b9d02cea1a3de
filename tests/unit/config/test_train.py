import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from scenerec.config.file import config_schema, dump_config, load_config
from scenerec.config.geo import GeoConfig
from scenerec.config.scale import WorkerRange
from scenerec.config.train import TrainConfig
from scenerec.errors import ConfigError
from scenerec.models import zoo
from tests.job_file import JOB, problems, write_job


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_job(tmp_path)


def edit(file: Path, old: str, new: str) -> None:
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_a_short_job_gets_its_defaults(file: Path) -> None:
    config = load_config(file)
    assert config.run_url == "s3://scenes/runs/first"
    assert config.data.val == "s3://scenes/val"
    assert (config.scale.min_workers, config.scale.max_workers) == (1, 1)
    assert config.optimize.optimizer == "sgd"


def test_what_is_dumped_loads_as_the_same(file: Path) -> None:
    config = load_config(file, ["scale.workers={min: 2, max: 4}", "model.weights=none"])
    assert config.scale.workers == WorkerRange(min=2, max=4)
    file.write_text(dump_config(config))
    assert load_config(file) == config


@pytest.mark.parametrize(
    ("written", "read"),
    [("none", "none"), ("~", "none"), ("backbone", "backbone"), ("[conv1, layer1.0]", ("conv1", "layer1.0"))],
)
def test_freeze_is_a_word_or_modules(file: Path, written: str, read: object) -> None:
    config = load_config(file, [f"model.freeze={written}"])
    assert config.model.freeze == read
    file.write_text(dump_config(config))
    assert load_config(file) == config


@pytest.mark.parametrize("written", ["layer1", "[]", "[1]", "true", "{conv1: true}"])
def test_freeze_that_is_neither_is_one_problem(file: Path, written: str) -> None:
    (problem,) = problems(file, f"model.freeze={written}")
    assert problem == (
        f"--set model.freeze={written}: model.freeze: must be `none`, `backbone`, or a list of modules such as "
        "[conv1, bn1, layer1]"
    )


def test_coordinates_are_read_where_geo_is_given(file: Path) -> None:
    assert load_config(file).model.geo is None
    assert load_config(file, ["model.geo={}"]).model.geo == GeoConfig()
    config = load_config(file, ["model.geo={encoding: multiscale, scales: 12, time: true, fusion: modulate}"])
    assert config.model.geo == GeoConfig(encoding="multiscale", scales=12, time=True, fusion="modulate")
    file.write_text(dump_config(config))
    assert load_config(file) == config


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model.geo={scales: 12}"],
            "model.geo.scales: belongs to encoding multiscale, and it is wrapped: leave it out",
        ),
        (
            ["model.arch=squeezenet1_1", "model.geo={fusion: concat}"],
            "model.geo.fusion: concat needs a linear head, and squeezenet1_1's is a convolution: take logits",
        ),
        (["model.geo={width: 0}"], "model.geo.width: must be at least 1, not 0"),
        (["model.geo={fusion: sum}"], "model.geo.fusion: must be logits, concat or modulate, not 'sum'"),
    ],
)
def test_ways_to_read_coordinates_that_do_not_go_are_refused(file: Path, overrides: list[str], message: str) -> None:
    (problem,) = problems(file, *overrides)
    assert problem.endswith(message)


@pytest.mark.parametrize("decay", [0, -0.5, 1.01])
def test_layer_decay_is_a_share(file: Path, decay: float) -> None:
    (problem,) = problems(file, f"optimize.layer_decay={decay}")
    assert "optimize.layer_decay" in problem


def test_an_unknown_key_is_named_with_its_line_and_the_nearest(file: Path) -> None:
    edit(file, "  lr: 0.1", "  lr: 0.1\n  labelsmoothing: 0.1")
    assert problems(file) == [
        f"{file}:12: optimize.labelsmoothing: unknown key; did you mean `label_smoothing`?",
    ]


def test_an_unknown_key_like_no_other_lists_the_known_ones(file: Path) -> None:
    edit(file, "{arch: resnet18}", "{arch: resnet18, zzzz: 1}")
    (problem,) = problems(file)
    known = "arch, weights, weights_ema, accept_licence, freeze, drop_path, geo"
    assert problem == f"{file}:7: model.zzzz: unknown key; known are {known}"


def test_all_problems_are_reported_together(file: Path) -> None:
    edit(file, "epochs: 2", "epochs: two")
    edit(file, "lr: 0.1", "lr: -1")
    edit(file, "framework: torch", "framework: jax")
    found = problems(file)
    assert len(found) == 3
    for where, field in ((3, "framework"), (9, "optimize.epochs"), (11, "optimize.lr")):
        assert any(problem.startswith(f"{file}:{where}: {field}: ") for problem in found)
    assert any("'two'" in problem for problem in found)


def test_a_missing_key_is_reported_at_its_block(file: Path) -> None:
    edit(file, "  epochs: 2\n", "")
    assert problems(file) == [f"{file}:8: optimize.epochs: is missing"]


def test_a_key_that_stands_twice_is_refused(file: Path) -> None:
    edit(file, "  lr: 0.1", "  lr: 0.1\n  lr: 0.2")
    assert problems(file) == [f"{file}:12: optimize.lr: stands twice; remove one"]


def test_broken_yaml_names_its_line(file: Path) -> None:
    edit(file, "{arch: resnet18}", "{arch: resnet18")
    (problem,) = problems(file)
    assert problem.startswith(f"{file}:8: is not YAML: ")


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n- b\n", "text", "\0", "a: &x [*x]", "? [a]\n: b"])
def test_other_files_are_refused(file: Path, text: str) -> None:
    file.write_text(text)
    assert all(problem.startswith(str(file)) for problem in problems(file))


def test_a_missing_file(tmp_path: Path) -> None:
    assert problems(tmp_path / "none.yaml") == [
        f"{tmp_path}/none.yaml: cannot be read: No such file or directory",
    ]
    (problem,) = problems(tmp_path)
    assert "cannot be read" in problem


@pytest.mark.parametrize(
    ("override", "field", "value"),
    [
        ("optimize.lr=0.5", ("optimize", "lr"), 0.5),
        ("optimize.step_epochs=[1, 2]", ("optimize", "step_epochs"), (1, 2)),
        ("data.augment.flip=false", ("data", "augment", "flip"), False),
        ("name=second=b", ("name",), None),
        ("scale.workers=3", ("scale", "workers"), 3),
    ],
)
def test_overrides(file: Path, override: str, field: tuple[str, ...], value: Any) -> None:
    if value is None:
        assert problems(file, override)[0].startswith(f"--set {override}: ")
        return
    found: Any = load_config(file, [override])
    for key in field:
        found = getattr(found, key)
    assert found == value


def test_the_last_override_counts(file: Path) -> None:
    assert load_config(file, ["optimize.lr=1", "optimize.lr=2"]).optimize.lr == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimize.lr=fast", "--set optimize.lr=fast: optimize.lr: must be a number, not 'fast'"),
        ("optimize.lrr=1", "--set optimize.lrr=1: optimize.lrr: unknown key; did you mean `lr`?"),
        ("optimize", "--set optimize: must be KEY=VALUE"),
        ("=1", "--set =1: must be KEY=VALUE"),
        ("name.first=1", "--set name.first=1: name is a value, not a block"),
        ("optimize.lr=[", "--set optimize.lr=[: the value is not YAML"),
        ("optimize=1", "--set optimize=1: optimize: "),
    ],
)
def test_a_wrong_override_is_the_source_that_is_named(file: Path, override: str, message: str) -> None:
    assert problems(file, override)[0].startswith(message)


def test_environment_variables_and_home_are_expanded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET", "mine")
    monkeypatch.setenv("HOME", "/home/me")
    config = load_config(file, ["data.train=s3://${BUCKET}/train", "data.val=~/val", "output=s3://$BUCKET/runs/"])
    assert config.data.train == "s3://mine/train"
    assert config.data.val == "/home/me/val"
    assert config.run_url == "s3://mine/runs/first"


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("s3://$NOT_SET_ANYWHERE/x", "the environment variable $NOT_SET_ANYWHERE is not set"),
        ("s3://", "needs a bucket"),
        ("gs://bucket/x", "only s3:// addresses and local paths are understood"),
        ('"/a\\0b"', "'/a\\x00b' has control characters"),
    ],
)
def test_locations_that_mean_nothing(file: Path, location: str, message: str) -> None:
    (problem,) = problems(file, f"output={location}")
    assert message in problem
    assert ": output: " in problem


@pytest.mark.parametrize(
    ("override", "field"),
    [
        ("optimize.warmup_epochs=2", "optimize.warmup_epochs"),
        ("optimize.min_lr=1", "optimize.min_lr"),
        ("optimize.step_epochs=[2, 1]", "optimize.step_epochs"),
        ("optimize.restart_epochs=0.001", "optimize.restart_epochs: must be at least 0.01, not 0.001"),
        ("optimize.step_epochs=[-1, 5]", "optimize.step_epochs.0: must be at least 1, not -1"),
        ("scale.workers={min: 3, max: 2}", "scale.workers"),
        ("data.augment.crop_scale=[1, 0.5]", "data.augment.crop_scale"),
        ("data.augment.erase_ratio=[3, 0.5]", "data.augment.erase_ratio: the first number must not exceed"),
        ("data.augment.erase=1.5", "data.augment.erase"),
        ("data.augment.rand_augment={magnitude: 31}", "data.augment.rand_augment.magnitude"),
        ("data.augment={rand_augment: {}, trivial_augment: true}", "data.augment.trivial_augment: rand_augment draws"),
        ("data.lanes=0", "data.lanes"),
        ("data.balance=1.1", "data.balance"),
        ("data.repeats=0", "data.repeats"),
        ("data.train_size=256", "data.train_size: 256 exceeds image_size (224)"),
        ("data.train_size=8", "data.train_size"),
        ("optimize.class_weights=even", "optimize.class_weights: must be `none`, `balanced`, or weights by class"),
        ("optimize.class_weights={beach: 0}", "optimize.class_weights.beach"),
        ("optimize.mix={share: 0.5}", "optimize.mix: name mixup or cutmix, which mix, or leave the block out"),
        ("optimize.class_weights={}", "optimize.class_weights: must be"),
        ("data.cache={folder: shards, size_gb: 1}", "data.cache.folder: must be a path from the root on"),
        ("data.cache={folder: /shards, size_gb: 0}", "data.cache.size_gb"),
        ("data.train=[{set: /a, weight: 0}]", "data.train.0.weight"),
        ("data.train=[{set: /a, weight: 1}, {set: /a/, weight: 2}]", "data.train: /a stands twice"),
        ("model.arch=resnet5000", "model.arch"),
        ("name=a b", "name"),
        ("kind=paint", "kind"),
        ("optimize.seed=-1", "optimize.seed"),
    ],
)
def test_values_that_do_not_fit_name_their_field(file: Path, override: str, field: str) -> None:
    assert any(f": {field}" in problem for problem in problems(file, override))


@pytest.mark.parametrize(
    ("arch", "size", "message"),
    [
        ("vit_b_16", 160, "data.train_size: vit_b_16 takes images of 224 px only, not 160"),
        ("alexnet", 48, "data.train_size: alexnet takes images of at least 63 px, not 48"),
    ],
)
def test_an_architecture_takes_the_size_of_training_too(file: Path, arch: str, size: int, message: str) -> None:
    (problem,) = problems(file, f"model.arch={arch}", f"data.train_size={size}")
    assert message in problem


def test_a_batch_holds_an_image_no_oftener_than_it_has_images(file: Path) -> None:
    (problem,) = problems(file, "data.repeats=9", "optimize.global_batch_size=8")
    assert "data.repeats: 9 exceeds optimize.global_batch_size (8)" in problem


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize(
    ("overrides", "batch", "fitting"),
    [
        (["optimize.global_batch_size=1"], "1 on 1 worker(s)", 2),
        (["optimize.global_batch_size=4", "scale.workers=4"], "4 on 4 worker(s)", 8),
        (["optimize.global_batch_size=4", "scale.workers={min: 1, max: 3}"], "4 on 3 worker(s)", 6),
        (["optimize.global_batch_size=8", "optimize.accumulate_steps=8"], "8 on 1 worker(s) in 8 steps", 16),
        (["optimize.global_batch_size=1", "model.arch=maxvit_t"], "1 on 1 worker(s)", 2),
    ],
)
def test_batch_norm_needs_two_images_in_each_pass(
    file: Path, framework: str, overrides: list[str], batch: str, fitting: int
) -> None:
    """torch would stop in the middle, or not; TensorFlow would train on a variance of 0."""
    (problem,) = problems(file, f"framework={framework}", *overrides)
    assert f": optimize.global_batch_size: {batch} leaves fewer than 2 images to a pass" in problem
    assert f"raise it to {fitting}, or lower scale.workers or optimize.accumulate_steps" in problem
    assert load_config(file, [*overrides, f"optimize.global_batch_size={fitting}"])


@pytest.mark.parametrize("override", ["model.arch=vit_b_16", "model.freeze=backbone"])
def test_one_image_is_enough_without_batch_norm_to_be_trained(file: Path, override: str) -> None:
    assert load_config(file, ["optimize.global_batch_size=1", override]).optimize.global_batch_size == 1


def test_a_single_epoch_has_no_room_for_one_of_warm_up(file: Path) -> None:
    assert load_config(file, ["optimize.epochs=1"]).optimize.warmup_epochs == 0
    edit(file, "  lr: 0.1", "  lr: 0.1\n  warmup_epochs: 1")
    (problem,) = problems(file, "optimize.epochs=1")
    assert problem == (
        f"{file}:12: optimize.warmup_epochs: 1 must be less than epochs (1): lower it, such as to 0.1, or raise epochs"
    )


def test_the_schema_describes_every_field() -> None:
    schema = json.loads(config_schema())
    blocks = [schema, *schema["$defs"].values()]
    fields = [(name, field) for block in blocks for name, field in block.get("properties", {}).items()]
    assert len(fields) > 40
    assert [name for name, field in fields if not field.get("description")] == []


@pytest.mark.parametrize("arch", zoo.ARCHITECTURES)
def test_every_architecture_can_have_a_layer_decay(file: Path, arch: str) -> None:
    size = max(zoo.architecture(arch).image_size, 224)
    config = load_config(file, [f"model.arch={arch}", f"data.image_size={size}", "optimize.layer_decay=0.5"])
    assert config.optimize.layer_decay == 0.5


def test_a_layer_decay_needs_the_blocks_of_the_architecture(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(zoo.ARCHITECTURES, "lenet", zoo.Architecture("lenet", "fc", 60_000, 224, 0.001))
    assert load_config(file, ["model.arch=lenet", "model.freeze=backbone"]).model.arch == "lenet"
    (problem,) = problems(file, "model.arch=lenet", "optimize.layer_decay=0.5")
    assert problem == (
        "--set optimize.layer_decay=0.5: optimize.layer_decay: the blocks of lenet are not known: add a rule for it to "
        "scenerec/models/blocks.py, or set it to 1"
    )


def test_a_config_cannot_be_changed(file: Path) -> None:
    with pytest.raises(ValidationError):
        load_config(file).name = "other"  # type: ignore[misc]


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["kind", "data", "optimize", "lr", "scale", "x"]), inner)
    ),
    max_leaves=8,
)


@given(block=st.sampled_from(sorted(TrainConfig.model_fields)), value=documents)
def test_any_value_is_taken_or_refused_in_lines(tmp_path_factory: Any, block: str, value: Any) -> None:
    file = tmp_path_factory.mktemp("config") / "train.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(JOB), block: value}))
    try:
        load_config(file)
    except ConfigError as error:
        assert all(line.startswith(str(file)) for line in str(error).splitlines())


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("~", "none"),
        ("IMAGENET1K_V1", "IMAGENET1K_V1"),
        ("DEFAULT", "IMAGENET1K_V1"),
        ("places365", "places365"),
        ("https://a.org/w.pth?x=$y#sha256=11ad3fa6", "https://a.org/w.pth?x=$y#sha256=11ad3fa6"),
        ("s3://bucket/runs/first/", "s3://bucket/runs/first"),
        ("./w.pth", str(Path("w.pth").absolute())),
    ],
)
def test_weights_are_a_name_a_url_or_a_location(file: Path, written: str, read: str) -> None:
    config = load_config(file, [f"model.weights={written}"])
    assert config.model.weights == read
    file.write_text(dump_config(config))
    assert load_config(file) == config


@pytest.mark.parametrize(("written", "hint"), [("IMAGENET1K_V2", "did you mean IMAGENET1K_V1"), ("w", "such as ./w")])
def test_weights_that_were_never_published_are_refused(file: Path, written: str, hint: str) -> None:
    (problem,) = problems(file, f"model.weights={written}")
    assert problem.startswith(f"--set model.weights={written}: model.weights: nothing was published for resnet18 as ")
    assert hint in problem


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (
            ["compute.fused_optimizer=true", "optimize.optimizer=lars"],
            "compute.fused_optimizer: lars has no fused form: leave it out, or set optimize.optimizer to sgd or adamw",
        ),
        (
            ["compute.recompute_activations=true", "model.arch=vgg11"],
            "compute.recompute_activations: vgg11 is made of single layers, of which nothing can be left out: take "
            "another network, or leave it out",
        ),
        (
            ["compute.recompute_activations=true", "model.arch=timm/resnet10t"],
            "compute.recompute_activations: the blocks of timm/resnet10t are not known: add a rule for it to "
            "scenerec/models/blocks.py, or leave it out",
        ),
    ],
)
def test_what_cannot_be_computed_so_is_one_problem(file: Path, overrides: list[str], problem: str) -> None:
    (found,) = problems(file, *overrides)
    assert problem in found

"""What a pretraining's YAML means, and what is refused before anything starts."""

from typing import Any

import pytest

from scenerec.config.augment import RandAugmentConfig
from scenerec.config.file import config_schema, dump_config, parse_job
from scenerec.config.pretrain import PretrainConfig
from scenerec.config.views import VIEWS
from scenerec.errors import ConfigError

TEXT = """\
kind: pretrain
name: features
framework: torch
data: {train: /scenes/train, image_size: 32}
pretrain: {method: METHOD}
model: {arch: resnet18}
optimize: {epochs: 3, global_batch_size: 64, lr: 0.1}
output: /runs
"""


def parsed(method: str = "simclr", *overrides: str) -> PretrainConfig:
    config = parse_job(TEXT.replace("METHOD", method), "pretrain.yaml", overrides)
    assert isinstance(config, PretrainConfig)
    return config


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("simclr", (0.1, "features", 128, "both_views", None, None, None, None)),
        ("mocov2", (0.2, "features", 128, None, 65_536, 0.999, None, None)),
        ("mocov3", (1.0, 4096, 256, None, None, 0.99, "cosine", 4096)),
    ],
)
def test_a_method_has_the_settings_of_its_authors(method: str, settings: tuple[Any, ...]) -> None:
    block = parsed(method).pretrain
    fields = ("temperature", "projector_width", "embedding_size", "batchnorm", "queue", "momentum")
    assert tuple(getattr(block, field) for field in (*fields, "momentum_schedule", "predictor_width")) == settings
    assert block.has_momentum_encoder == (method != "simclr")


def test_views_are_the_methods_but_for_what_is_given() -> None:
    assert parsed("mocov3").views == VIEWS["mocov3"]
    views = parsed("mocov3", "views.second.blur=0.5", "views.first.crop_scale=[0.5,1]").views
    assert (views.second.blur, views.second.solarize) == (0.5, VIEWS["mocov3"].second.solarize)
    assert views.first.crop_scale == (0.5, 1) and views.first.gray == VIEWS["mocov3"].first.gray
    assert parsed("mocov3").paired.augment == VIEWS["mocov3"].first
    operations = parsed("simclr", "views.first.rand_augment={}", "views.second={trivial_augment: true, erase: 0.5}")
    assert operations.views.first.rand_augment == RandAugmentConfig()
    assert (operations.views.second.trivial_augment, operations.views.second.erase) == (True, 0.5)


@pytest.mark.parametrize("method", ["simclr", "mocov2", "mocov3"])
def test_what_a_run_folder_keeps_is_read_as_the_same(method: str) -> None:
    config = parsed(method, "probe={train: /labelled/train, val: /labelled/val}", "views.first.blur=0.3")
    assert parse_job(dump_config(config), "config.yaml") == config
    assert '"projector_width"' in config_schema("pretrain")


@pytest.mark.parametrize(
    ("method", "overrides", "message"),
    [
        ("byol", "name=x", "pretrain.method: must be simclr, mocov2 or mocov3, not 'byol'"),
        ("simclr", "pretrain.queue=64", "queue: simclr has none, it is of mocov2: leave it out"),
        ("simclr", "pretrain.momentum=0.9", "momentum: simclr has none, it is of mocov2 and mocov3: leave it out"),
        ("mocov3", "pretrain.batchnorm=each_view", "batchnorm: mocov3 has none, it is of simclr: leave it out"),
        ("mocov2", "pretrain.predictor_width=9", "predictor_width: mocov2 has none, it is of mocov3"),
        ("mocov2", "pretrain.queue=100", "100 is no multiple of optimize.global_batch_size (64), by which"),
        ("mocov2", "pretrain.queue=32", "take 64"),
        (
            "simclr",
            "model.arch=squeezenet1_1; optimize.global_batch_size=1",
            "1 image has no other beside it: raise it to 2 or more",
        ),
        ("simclr", "optimize.class_weights=balanced", "optimize.class_weights: labels are not read here: leave it out"),
        ("simclr", "optimize.label_smoothing=0.1", "optimize.label_smoothing: labels are not read here"),
        ("simclr", "optimize.accumulate_steps=2", "optimize.accumulate_steps: each part of a batch"),
        ("simclr", "optimize.ema_decay=0.9", "optimize.ema_decay: momentum encoders are methods here"),
        (
            "simclr",
            "compute.recompute_activations=true; scale.workers=2",
            "compute.recompute_activations: BatchNorm goes by the images of all workers here, who would have to meet",
        ),
        ("simclr", "compute.compile=true", "compute.compile: is for learning from labels: leave it out"),
        ("simclr", "data.repeats=2", "data.repeats: the copies of an image would be its negatives: leave it out"),
        ("simclr", "data.train_size=32", "data.train_size: image_size is that of both views here"),
        ("simclr", "data.balance=1", "data.balance: evens out classes, and labels are not read here"),
        ("simclr", "data.augment.flip=false", "data.augment: an image has two views here: say it of views.first"),
        ("simclr", "data.val=/scenes/val", "data.val: unknown key"),
        ("simclr", "model.freeze=backbone", "model.freeze: backbone: is what is pretrained"),
        ("simclr", "views.third.blur=1", "views.third: unknown key"),
        ("simclr", "views.first.blur=2", "views.first.blur: "),
        ("simclr", "probe={train: /a}", "probe.val: "),
    ],
)
def test_what_means_nothing_is_refused(method: str, overrides: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parsed(method, *overrides.split("; "))
    assert message in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1

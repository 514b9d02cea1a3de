"""Recipes: what a file becomes by one, and that what its writer says wins."""

from pathlib import Path
from typing import Any, get_args

import pytest

from scenerec.config.file import dump_config, parse_as
from scenerec.config.recipe import RECIPES, with_recipe
from scenerec.config.train import TrainConfig, TrainingConfig
from scenerec.config.tune import TuneConfig, searchable_fields
from scenerec.errors import ConfigError
from scenerec.frozen import field_docstrings, first_problem


def train(recipe: str, **blocks: Any) -> TrainConfig:
    document: dict[str, Any] = {
        "kind": "train",
        "name": "test",
        "framework": "torch",
        "recipe": recipe,
        "data": {"train": "/train", "val": "/val"},
        "model": {"arch": "convnext_tiny", "weights": "DEFAULT" if recipe in ("finetune", "probe") else "none"},
        "output": "/runs",
    }
    for name, value in blocks.items():
        document[name] = {**document.get(name, {}), **value} if isinstance(value, dict) else value
    return TrainConfig.model_validate(document)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_fills_a_file_that_names_data_and_network(recipe: str) -> None:
    config = train(recipe)
    for block, fields in RECIPES[recipe].settings.items():
        found = getattr(config, block).model_dump()
        plain = {field: value for field, value in fields.items() if not isinstance(value, dict)}
        assert {field: found[field] for field in plain} == plain
    assert config.optimize.lr == RECIPES[recipe].lr
    assert parse_as(TrainConfig, dump_config(config), "config.yaml") == config  # as a run's folder keeps it


def test_every_recipe_says_what_it_has_reached() -> None:
    described = field_docstrings(TrainingConfig)["recipe"]
    page = (Path(__file__).parents[3] / "docs/recipes.md").read_text()
    for name, recipe in RECIPES.items():
        figure, authors = recipe.reached.partition(" %")[0], recipe.reached.rpartition("(")[2].rstrip(")")
        (row,) = (line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        assert f"{figure} %" in row and figure in described
        assert authors in page and authors in " ".join(described.split())


def test_every_recipe_can_be_named() -> None:
    literal = get_args(TrainingConfig.model_fields["recipe"].annotation)[0]
    assert set(get_args(literal)) == set(RECIPES)
    assert "recipe" not in set(searchable_fields())  # a search's base has all its settings already


def test_what_the_file_says_wins() -> None:
    config = train(
        "a1",
        data={"augment": {"rand_augment": {"magnitude": 9}}, "repeats": 1},
        optimize={"epochs": 20, "mix": {"mixup": 0.5}, "lr": 0.001},
        model={"drop_path": 0.3},
    )
    assert config.data.augment.rand_augment is not None
    assert (config.data.augment.rand_augment.num_ops, config.data.augment.rand_augment.magnitude) == (2, 9)
    assert config.optimize.mix is not None
    assert (config.optimize.mix.mixup, config.optimize.mix.cutmix) == (0.5, 1.0)
    assert (config.data.repeats, config.optimize.lr, config.model.drop_path) == (1, 0.001, 0.3)
    assert train("a1", optimize={"mix": None}).optimize.mix is None


def test_the_learning_rate_follows_the_batch_and_the_warm_up_the_epochs() -> None:
    small = train("a3", optimize={"global_batch_size": 512, "epochs": 20}).optimize
    assert (small.lr, small.warmup_epochs) == (0.004, 2.0)  # the square root of a quarter
    assert train("finetune", optimize={"global_batch_size": 256}).optimize.lr == 0.0005
    assert train("a2").optimize.warmup_epochs == 5.0
    assert train("probe").optimize.warmup_epochs == 0.0
    assert train("finetune", optimize={"lr": 1e-7}).optimize.min_lr == 1e-7


def test_what_belongs_to_another_choice_goes_with_it() -> None:
    plain = train("a1", optimize={"loss": "cross_entropy"}).optimize
    assert (plain.bce_threshold, plain.label_smoothing) == (None, 0.1)
    with pytest.raises(ValueError) as raised:
        train("a1", optimize={"optimizer": "sgd"})
    assert first_problem(raised.value) == "optimize.lr: is missing"  # type: ignore[arg-type]
    sgd = train("a1", optimize={"optimizer": "sgd", "lr": 0.5}).optimize
    assert (sgd.weight_decay, sgd.clip_grad_norm) == (0.0, 0.0)


def test_another_image_size_is_trained_as_it_is() -> None:
    assert (train("a3").data.image_size, train("a3").data.train_size) == (224, 160)
    assert train("a3", data={"image_size": 224}).data.train_size == 160
    assert train("a3", data={"image_size": 128}).data.train_size is None
    assert train("a3", data={"image_size": 256, "train_size": 192}).data.train_size == 192


FILE = "kind: train\nname: x\nframework: torch\noutput: o\nrecipe: a3\nmodel: {arch: vit_b_16}\n"


def test_what_a_recipe_sets_is_refused_with_its_name_and_a_way_out() -> None:
    with pytest.raises(
        ConfigError, match=r"data\.train_size: vit_b_16 takes .* not 160 \(a3, the recipe, sets it: say"
    ):
        parse_as(TrainConfig, FILE + "data: {train: /t, val: /v}", "train.yaml")
    small = FILE.replace("a3", "a1") + "data: {train: /t, val: /v}\noptimize: {global_batch_size: 2}"
    with pytest.raises(ConfigError, match=r"data\.repeats: 3 .*: lower it \(a1, the recipe, .* another value there\)$"):
        parse_as(TrainConfig, small, "train.yaml")
    with pytest.raises(ConfigError, match=r"not 160$"):
        parse_as(TrainConfig, FILE + "data: {train: /t, val: /v, train_size: 160}", "train.yaml")
    found = parse_as(TrainConfig, FILE + "data: {train: /t, val: /v, train_size: null}", "train.yaml")
    assert found.data.train_size is None
    with pytest.raises(ConfigError, match=r"leave one of them out, or set it to null where a recipe sets it$"):
        parse_as(TrainConfig, FILE + "data: {train: /t, val: /v, augment: {trivial_augment: true}}", "train.yaml")


def test_a_search_says_what_its_bases_recipe_sets() -> None:
    search = "kind: tune\nname: x\noutput: o\ntrials: 2\nsearch: {optimize.lr: {choice: [0.1, 0.2]}}\n"
    base = "base: {framework: torch, recipe: a3, model: {arch: vit_b_16}, data: {train: /t, val: /v}}"
    with pytest.raises(ConfigError, match=r"base\.data\.train_size: .* \(a3, the recipe, sets it: say another"):
        parse_as(TuneConfig, search + base, "tune.yaml")


def test_an_architecture_without_stochastic_depth_trains_without() -> None:
    assert train("a1", model={"arch": "resnet50"}).model.drop_path is None
    with pytest.raises(ValueError, match=r"drop_path: resnet50 has no layers of stochastic depth"):
        train("a1", model={"arch": "resnet50", "drop_path": 0.1})


def test_what_a_recipe_mixes_can_be_left_out() -> None:
    with pytest.raises(ValueError, match=r"model\.geo reads one: set it to null, as the recipe sets it"):
        train("a1", model={"geo": {}})
    assert train("a1", model={"geo": {}}, optimize={"mix": None}).model.geo


@pytest.mark.parametrize("recipe", ["finetune", "probe"])
def test_what_begins_with_weights_asks_for_them(recipe: str) -> None:
    with pytest.raises(ValueError, match=rf"model\.weights: the recipe {recipe} begins with trained weights"):
        train(recipe, model={"weights": "none"})


@pytest.mark.parametrize("value", [None, [], {"recipe": "none"}, {"recipe": ["a1"]}, {"epochs": 1}])
def test_other_values_stay_as_they_are(value: Any) -> None:
    assert with_recipe(value) is value


@pytest.mark.parametrize("block", [None, 3, "x", [], {"epochs": "x"}, {"global_batch_size": True, "lr": []}])
def test_what_is_wrong_is_said_of_the_field(block: Any) -> None:
    with pytest.raises(ValueError) as raised:
        train("a1", optimize=block)
    assert "optimize" in first_problem(raised.value)  # type: ignore[arg-type]

"""What is chosen for some data, a machine and so many minutes."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scenerec.config.file import parse_as
from scenerec.config.recipe import RECIPES
from scenerec.config.train import TrainConfig
from scenerec.errors import PlanError
from scenerec.models.zoo import ARCHITECTURES
from scenerec.training.choice.candidates import CANDIDATE_ARCHITECTURES, Weights
from scenerec.training.choice.choose import Choice, choose
from scenerec.training.choice.costs import START_S, TABLE, YARDSTICK, epoch_seconds, speed_of, training_cost
from scenerec.training.choice.facts import DataFacts, Machine, machine_of
from scenerec.training.choice.weights_at_hand import bring_weights, weights_at_hand
from scenerec.training.choice.yaml_text import train_yaml
from scenerec.training.plan import NodeResources

NONE = Weights(reason="none are here")
IMAGENET = Weights(dict.fromkeys(CANDIDATE_ARCHITECTURES, "IMAGENET1K_V1"), "they are here")
FIXED = {"name": "photos", "framework": "torch", "data.train": "/t", "data.val": "/v", "output": "/runs"}
PHOTOS = DataFacts({f"class{number}": 57 for number in range(12)}, 167, 300)
LAPTOP = Machine(cpus=2, memory_bytes=16 << 30)

data_sets = st.builds(
    DataFacts,
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 200_000), min_size=2),
    st.integers(1, 50_000),
    st.integers(8, 6000),
)
machines = st.builds(
    Machine,
    st.integers(1, 128),
    st.sampled_from([0, 0, 1, 3, 8]),
    st.integers(1, 5),
    st.none() | st.integers(1 << 28, 1 << 40),
    st.floats(0.2, 5),
)
minutes = st.floats(0.5, 10_000)


def chosen(data: DataFacts, machine: Machine, allowed: float, weights: Weights = NONE, **stated: Any) -> Choice:
    """The choice; cases in which the minutes do not suffice are left out."""
    try:
        return choose(data, machine, allowed, weights, {key.replace("__", "."): value for key, value in stated.items()})
    except PlanError:
        assume(False)
        raise


def config_of(choice: Choice, more: dict[str, Any] | None = None) -> TrainConfig:
    return parse_as(TrainConfig, train_yaml(["a heading", ""], FIXED, choice, more or {}), "train.yaml")


def cost(settings: dict[str, Any]) -> float:
    return training_cost(settings["model.arch"], settings["data.image_size"]).core_ms


@pytest.mark.slow
@given(data_sets, machines, minutes, st.sampled_from([NONE, IMAGENET]))
def test_it_fits_the_minutes_and_is_a_valid_file(
    data: DataFacts, machine: Machine, allowed: float, weights: Weights
) -> None:
    choice = chosen(data, machine, allowed, weights)
    config = config_of(choice)
    optimize, epoch_s = (
        config.optimize,
        epoch_seconds(config.model.arch, config.data.image_size, "torch", data, machine),
    )
    assert START_S["torch"] + optimize.epochs * epoch_s <= 60 * allowed + 1e-6
    assert choice.estimated_s == pytest.approx(START_S["torch"] + optimize.epochs * epoch_s)
    assert 1 <= optimize.global_batch_size <= data.images
    assert optimize.global_batch_size % config.scale.max_workers == 0
    assert config.scale.max_workers * config.scale.cpus_per_worker <= machine.nodes * max(machine.cpus, machine.gpus)
    assert (config.scale.gpus_per_worker == 1) == (machine.gpus > 0)
    assert config.data.image_size <= max(data.short_side, 32)
    assert all(decision.reason and decision.shown for decision in choice.decisions)


@given(data_sets, machines, minutes, st.floats(1, 20))
def test_more_minutes_choose_nothing_cheaper(data: DataFacts, machine: Machine, allowed: float, more: float) -> None:
    few, many = chosen(data, machine, allowed).settings, chosen(data, machine, allowed * more).settings
    assert cost(many) >= cost(few)
    if cost(many) == cost(few):
        assert many["optimize.epochs"] >= few["optimize.epochs"]


@given(data_sets, machines)
def test_minutes_that_suffice_for_no_epoch_are_refused_with_those_that_do(data: DataFacts, machine: Machine) -> None:
    try:
        choose(data, machine, 0.4, NONE)
    except PlanError as error:
        needed = int(str(error).split("give it --minutes ")[1].split()[0])
        assert choose(data, machine, needed, NONE).settings["optimize.epochs"] >= 1


@given(data_sets, machines, minutes, st.sampled_from(sorted(ARCHITECTURES)))
def test_any_architecture_can_be_stated(data: DataFacts, machine: Machine, allowed: float, arch: str) -> None:
    choice = chosen(data, machine, allowed, model__arch=arch)
    assert config_of(choice).model.arch == arch


def test_what_is_stated_stays_and_the_rest_is_chosen_around_it() -> None:
    free = choose(PHOTOS, LAPTOP, 10, NONE)
    stated = {"data.image_size": 64, "optimize.global_batch_size": 64, "optimize.lr": 0.01, "scale.workers": 1}
    choice = choose(PHOTOS, LAPTOP, 10, NONE, stated)
    assert stated.items() <= choice.settings.items()
    assert {each.title for each in choice.decisions if each.reason == "as you said"} == {
        *("image size", "batch", "learning rate", "workers")
    }
    assert choice.settings["scale.cpus_per_worker"] == 2
    assert free.settings["optimize.epochs"] != choice.settings["optimize.epochs"]
    fixed_epochs = choose(PHOTOS, LAPTOP, 10, NONE, {"optimize.epochs": 1000})
    assert fixed_epochs.estimated_s > 600
    assert fixed_epochs.settings["optimize.epochs"] == 1000


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_takes_the_place_of_learning_rate_and_augmentation(recipe: str) -> None:
    stated = {"recipe": recipe, "optimize.weight_decay": 0.3}
    if recipe in ("finetune", "probe"):
        stated["model.weights"] = "IMAGENET1K_V1"
    choice, free = (choose(PHOTOS, LAPTOP, 10, NONE, each) for each in (stated, {}))
    for key in ("optimize.epochs", "optimize.global_batch_size", "model.arch"):
        assert choice.settings[key] == free.settings[key] or "model.weights" in stated
    config, settings = config_of(choice, stated), choice.settings
    assert config.recipe == recipe and config.optimize.weight_decay == 0.3
    named = {"kind": "train", "recipe": recipe, "name": "x", "framework": "torch", "output": "o"}
    sizes = {"epochs": settings["optimize.epochs"], "global_batch_size": settings["optimize.global_batch_size"]}
    pure = TrainConfig.model_validate(
        {
            **named,
            "data": {"train": "/t", "val": "/v", "image_size": settings["data.image_size"]},
            "model": {"arch": settings["model.arch"], "weights": settings["model.weights"]},
            "optimize": {**sizes, "weight_decay": 0.3},
        }
    )
    assert (config.optimize, config.data.augment, config.model) == (pure.optimize, pure.data.augment, pure.model)
    (said,) = (each for each in choice.decisions if each.title == "recipe")
    assert RECIPES[recipe].reached in said.reason


def test_no_recipe_can_be_said() -> None:
    choice, free = (choose(PHOTOS, LAPTOP, 10, NONE, stated) for stated in ({"recipe": None}, {}))
    assert choice == free and config_of(choice, {"recipe": None}) == config_of(free, {})


def test_another_optimizer_takes_nothing_that_is_chosen_for_adamw() -> None:
    stated: dict[str, Any] = {"optimize.optimizer": "sgd"}
    with pytest.raises(PlanError, match=r"optimize\.optimizer: .* is adamw's, and sgd wants another: say it too"):
        choose(PHOTOS, LAPTOP, 10, NONE, stated)
    stated |= {"optimize.lr": 0.1}
    optimize = config_of(choose(PHOTOS, LAPTOP, 10, NONE, stated), stated).optimize
    assert (optimize.optimizer, optimize.lr, optimize.weight_decay) == ("sgd", 0.1, 0.0)
    adamw = {"optimize.optimizer": "adamw"}
    assert config_of(choose(PHOTOS, LAPTOP, 10, NONE, adamw)) == config_of(choose(PHOTOS, LAPTOP, 10, NONE))


def test_the_photographs_of_a_laptop() -> None:
    settings = choose(PHOTOS, LAPTOP, 10, NONE).settings
    assert settings["model.arch"] == "resnet18"
    assert settings["optimize.global_batch_size"] == 32
    assert settings["scale.workers"] == 2
    assert settings["model.weights"] == "none"
    tuned = choose(PHOTOS, LAPTOP, 10, IMAGENET).settings
    assert tuned["model.weights"] == "IMAGENET1K_V1"
    assert tuned["optimize.lr"] < settings["optimize.lr"]


def test_much_data_on_gpus_get_a_large_network() -> None:
    data = DataFacts({f"class{number}": 5000 for number in range(365)}, 36_500, 256)
    settings = choose(data, Machine(cpus=64, gpus=8, nodes=4), 24 * 60, NONE).settings
    assert settings["model.arch"] == "resnet50"
    assert settings["scale.workers"] == 32
    assert settings["optimize.precision"] == "bf16"


def test_uneven_classes_are_balanced() -> None:
    even, uneven = DataFacts({"a": 50, "b": 60}, 20, 200), DataFacts({"a": 5, "b": 60}, 20, 200)
    assert "data.balance" not in choose(even, LAPTOP, 5, NONE).settings
    assert config_of(choose(uneven, LAPTOP, 5, NONE)).data.balance == 0.5


def test_the_file_says_why_and_what_was_set_beside() -> None:
    choice = choose(PHOTOS, LAPTOP, 10, NONE)
    more = {"optimize.ema_decay": 0.99, "data.log_samples": True, "job.labels": {"team": "vision"}}
    text = train_yaml(["Train: so"], FIXED, choice, more)
    assert text.startswith("# Train: so\nkind: train\nname: photos\n")
    for decision in choice.decisions:
        assert f"# {decision.title}: {decision.reason[:30]}" in text
    config = parse_as(TrainConfig, text, "train.yaml")
    assert (config.optimize.ema_decay, config.data.log_samples, config.job.labels) == (0.99, True, {"team": "vision"})
    assert max(map(len, text.splitlines())) <= 100


def test_costs_grow_with_the_size_and_are_known_of_all_architectures() -> None:
    for arch in ARCHITECTURES:
        costs = [training_cost(arch, size) for size in (32, 64, 100, 128, 224, 448)]
        assert [each.core_ms for each in costs] == sorted(each.core_ms for each in costs)
        assert all(math.isfinite(each.held_mb) and each.core_ms > 0 for each in costs)
    assert speed_of(training_cost(*YARDSTICK).core_ms / 2000) == pytest.approx(2)
    assert TABLE.exists()


def test_nodes_count_by_the_weakest_of_those_with_gpus() -> None:
    nodes = [NodeResources(4), NodeResources(16, 2), NodeResources(8, 4)]
    assert machine_of(nodes) == Machine(cpus=8, gpus=2, nodes=2)
    assert machine_of(nodes[:1]) == Machine(cpus=4)


def test_weights_of_torchs_cache_are_taken_and_brought_to_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    file = tmp_path / "torch/hub/checkpoints/resnet18-f37072fd.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    found = weights_at_hand(f"{tmp_path}/runs", CANDIDATE_ARCHITECTURES)
    assert found.names == {"resnet18": "IMAGENET1K_V1"}
    assert "BSD-3-Clause; their file is here" in found.reason
    bring_weights(f"{tmp_path}/runs", "resnet18", "IMAGENET1K_V1")
    assert (tmp_path / "runs/.weights/resnet18-f37072fd.pth").read_bytes() == b"weights"
    file.unlink()
    assert weights_at_hand(f"{tmp_path}/runs", CANDIDATE_ARCHITECTURES).names == {"resnet18": "IMAGENET1K_V1"}


def test_weights_that_not_all_may_use_are_not_taken_unasked(tmp_path: Path) -> None:
    found = weights_at_hand(f"{tmp_path}/runs", ["vit_h_14"])
    assert found == Weights(reason="random: none that all may use were published for vit_h_14")

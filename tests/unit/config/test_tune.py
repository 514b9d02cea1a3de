from typing import Any

import pytest
import yaml

from scenerec.config.file import config_schema, dump_config, parse_as, parse_job
from scenerec.config.pretrain import PretrainConfig
from scenerec.config.space import Parameter
from scenerec.config.tune import TuneConfig, searchable_fields
from scenerec.errors import ConfigError
from scenerec.frozen import Frozen, field_docstrings
from tests.tiny_search import search_document


def problem(**fields: Any) -> str:
    """The one line that a search with these fields is refused with."""
    text = dump_document(search_document(**fields))
    with pytest.raises(ConfigError) as raised:
        parse_as(TuneConfig, text, "tune.yaml")
    (line,) = str(raised.value).splitlines()
    return line


def dump_document(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False)


def base(**blocks: Any) -> dict[str, Any]:
    document = search_document()["base"]
    for name, value in blocks.items():
        document[name] = {**document.get(name, {}), **value} if isinstance(value, dict) else value
    return document


def test_a_minimal_search_has_sensible_defaults_and_survives_a_round_trip() -> None:
    config = TuneConfig.model_validate(search_document())
    assert (config.searcher, config.scheduler.kind, config.objective) == ("tpe", "asha", ("val_top1",))
    assert config.run_url == "/tmp/runs/rooms"
    assert parse_job(dump_config(config), "again.yaml") == config
    assert "choice: null" not in dump_config(config)


def test_short_forms() -> None:
    config = TuneConfig.model_validate(search_document(scheduler="median", objective="val_loss"))
    assert (config.scheduler.kind, config.objective) == ("median", ("val_loss",))
    assert config.search["model.arch"] == Parameter(choice=("resnet18", "mobilenet_v3_small"))


def test_a_trial_is_the_base_with_the_points_values() -> None:
    config = TuneConfig.model_validate(search_document())
    job = config.trial_config({"optimize.lr": 0.5, "data.augment.flip": False}, "0001", "/tmp/trials")
    assert (job.kind, job.run_url, job.optimize.lr) == ("train", "/tmp/trials/0001", 0.5)
    assert not job.data.augment.flip and job.optimize.epochs == 9
    with pytest.raises(ValueError, match=r"^optimize\.lr: must be above 0, not -1$"):
        config.trial_config({"optimize.lr": -1}, "0001", "/tmp/trials")
    with pytest.raises(ValueError, match=r"^optimize\.min_lr: 2 exceeds lr \(0\.05\)$"):
        config.trial_config({"optimize.min_lr": 2.0}, "0001", "/tmp/trials")
    with pytest.raises(ValueError, match=r"^model\.arch: .*resnet19"):
        config.trial_config({"model.arch": "resnet19"}, "0001", "/tmp/trials")


def test_pretrainings_are_searched_by_their_neighbours() -> None:
    learned = {
        **{"framework": "torch", "data": {"train": "/data/train", "image_size": 32}, "model": {"arch": "resnet18"}},
        **{"pretrain": {"method": "simclr"}, "optimize": {"epochs": 3, "global_batch_size": 64, "lr": 0.1}},
        "probe": {"train": "/data/train", "val": "/data/val"},
    }
    wanted = {"pretrain.temperature": {"uniform": [0.05, 0.5]}, "views.second.blur": [0.0, 0.5]}
    config = TuneConfig.model_validate(search_document(base=learned, search=wanted))
    assert config.objective == ("val_knn_top1",)
    assert parse_job(dump_config(config), "again.yaml") == config
    job = config.trial_config({"pretrain.temperature": 0.3, "views.second.blur": 0.5}, "0001", "/tmp/trials")
    assert isinstance(job, PretrainConfig) and (job.pretrain.temperature, job.views.second.blur) == (0.3, 0.5)
    assert job.views.first == config.base.views.first  # type: ignore[union-attr]

    def refused(**changes: Any) -> str:
        return problem(**{"base": learned, "search": wanted, **changes}).partition(": ")[2]

    assert refused(objective="val_top1") == "objective: val_top1 is of trainings: take val_knn_top1"
    assert refused(objective="val_loss").startswith("objective: val_loss changes with the settings that are searched")
    assert refused(base={**learned, "probe": None}).startswith("base.probe: is what pretrainings are judged by")
    probe = {**learned["probe"], "every_epochs": 2}
    assert refused(base={**learned, "probe": probe}) == (
        "base.probe.every_epochs: each epoch of a trial is judged: leave it out"
    )
    assert refused(base={**learned, "optimize": {**learned["optimize"], "lr": -1}}) == (
        "base.optimize.lr: must be above 0, not -1"
    )
    assert refused(base={**learned, "pretrain": {"method": "byol"}}).startswith("base.pretrain.method: must be simclr")
    assert "is no field of a pretraining job; did you mean" in refused(search={"pretrain.temprature": [1, 2]})
    pbt = {"scheduler": "pbt", "searcher": "random", "search": {"pretrain.embedding_size": [64, 128]}}
    assert "cannot change in the middle of a run" in refused(**pbt)
    assert "val_knn_top1 is of pretrainings: take val_top1" in problem(objective="val_knn_top1")


def test_values_of_a_choice_that_are_the_same_trial_are_refused() -> None:
    text = dump_document(search_document(search={"optimize.lr": [0.1, "SAME", 0.3]}))
    with pytest.raises(ConfigError, match=r"tune\.yaml:\d+: search\.optimize\.lr.*: a value stands twice$"):
        parse_as(TuneConfig, text.replace("SAME", "1e-1"), "tune.yaml")
    for values, said in (
        (["DEFAULT", "IMAGENET1K_V1"], "'DEFAULT' and 'IMAGENET1K_V1' are the same: leave one out"),
        (["/weights/a.pth", "/weights//a.pth"], "'/weights/a.pth' and '/weights//a.pth' are the same: leave one out"),
    ):
        line = problem(search={"model.weights": values}, base=base(model={"arch": "resnet18"}))
        assert line.endswith(f"search.model.weights: {said}")


@pytest.mark.parametrize(
    ("parameter", "reason"),
    [
        ({"choice": [2, "3"]}, "'3' is never possible: optimize.epochs: must be a whole number, not '3'"),
        ({"choice": [2, True]}, "True is never possible: optimize.epochs: must be a whole number, not true"),
        ({"uniform": [1, 3]}, "1.763932 is never possible: optimize.epochs: "),
    ],
)
def test_numbers_of_a_search_are_those_of_their_field(parameter: dict[str, Any], reason: str) -> None:
    assert f"search.optimize.epochs: {reason}" in problem(search={"optimize.epochs": parameter})


def test_batches_of_a_search_are_large_enough_for_batch_norm() -> None:
    line = problem(search={"optimize.global_batch_size": [16, 1]})
    assert (
        "search.optimize.global_batch_size: 1 is never possible: optimize.global_batch_size: 1 on 1 worker(s)" in line
    )


def test_every_field_but_those_of_the_cluster_can_be_searched() -> None:
    fields = set(searchable_fields())
    assert {"framework", "model.weights", "data.image_size", "data.train_share", "data.augment.flip"} <= fields
    assert {"optimize.distill.weight", "optimize.distill.temperature", "optimize.distill.teacher"} <= fields
    assert {"model.geo.width", "model.geo.fusion", "model.geo.encoding", "data.augment.drop_coordinates"} <= fields
    assert not [field for field in fields if field.startswith(("scale", "checkpoint", "data.cache"))]
    assert {"data.train_size", "data.repeats", "data.augment.rand_augment.magnitude", "data.augment.erase"} <= fields
    assert not fields & {"data.train", "data.eval_crops", "optimize.distill"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"search": {}}, "search: must not be empty"),
        ({"trials": 0}, "trials: must be at least 1, not 0"),
        ({"serch": 1}, "serch: unknown key; did you mean `search`?"),
        ({"name": "a/b"}, "name: "),
        ({"searcher": "bayes"}, "searcher: "),
        ({"scheduler": "sha"}, "scheduler.kind: "),
        ({"scheduler": {"kind": "asha", "grace": 1}}, "scheduler.grace: unknown key; did you mean `grace_epochs`?"),
        ({"scheduler": {"kind": "asha", "reduction_factor": 1}}, "scheduler.reduction_factor: "),
        ({"objective": ["val_top1", "val_top1"]}, "objective: one stands twice"),
        ({"objective": "latency_ms"}, "objective: latency_ms alone wants no training"),
        ({"objective": []}, "objective: "),
        ({"concurrent_trials": 0}, "concurrent_trials: must be `auto` or at least 1"),
        ({"max_hours": 0}, "max_hours: "),
        ({"budget": {"by": "data", "levels": [1, 0.5]}}, "budget.levels: must rise to 1"),
        ({"budget": {"by": "data", "levels": [0.5]}}, "budget.levels: must rise to 1"),
        ({"base": base(optimise={})}, "base.optimise: unknown key"),
        ({"base": base(optimize={"lr": -1})}, "base.optimize.lr: must be above 0, not -1"),
        (
            {"search": {"optimize.lr": {"uniform": [1, 0]}}},
            "search.optimize.lr.uniform: the first number must be",
        ),
        ({"search": {"optimize.lr": {"uniform": [0.1, 1], "stepp": 2}}}, "search.optimize.lr.stepp: unknown key"),
        ({"search": {"optimize.rl": [0.1]}}, "search.optimize.rl: is no field of a training job; did you mean"),
        ({"search": {"optimize": [0.1]}}, "search.optimize: is no field of a training job"),
        ({"search": {"scale.workers": [1, 2]}}, "search.scale.workers: cannot be searched"),
        (
            {"search": {"optimize.lr": [0.1, -1]}},
            "search.optimize.lr: -1 is never possible: optimize.lr: must be above 0, not -1",
        ),
        ({"search": {"model.arch": ["resnet19"]}}, "search.model.arch: 'resnet19' is never possible"),
        ({"search": {"optimize.lr": {"uniform": [0, 1]}}}, "search.optimize.lr: 0.0 is never possible"),
        (
            {"search": {"optimize.step_gamma": {"uniform": [0.1, 0.5], "when": {"optimize.shedule": "step"}}}},
            "search.optimize.step_gamma.when: optimize.shedule is no field",
        ),
        (
            {"search": {"optimize.step_gamma": {"uniform": [0.1, 0.5], "when": {"optimize.schedule": "step"}}}},
            "search.optimize.step_gamma.when: optimize.schedule is never 'step': base has 'cosine'",
        ),
        (
            {
                "search": {
                    "optimize.schedule": ["cosine", "plateau"],
                    "optimize.step_gamma": {"uniform": [0.1, 0.5], "when": {"optimize.schedule": ["step"]}},
                }
            },
            "when: optimize.schedule is never ['step']: search.optimize.schedule has no such value",
        ),
        (
            {
                "search": {
                    "optimize.lr": {"uniform": [0.1, 1], "when": {"optimize.momentum": [0.5]}},
                    "optimize.momentum": {"choice": [0.5], "when": {"optimize.lr": 0.2}},
                }
            },
            "conditions go in a circle",
        ),
        ({"searcher": "grid"}, "search.optimize.lr: a grid needs its values: make it a choice, or take"),
        ({"scheduler": "pbt"}, "searcher: the first population of pbt is drawn at random"),
        (
            {"scheduler": "pbt", "searcher": "random"},
            "search.model.arch: cannot change in the middle of a run",
        ),
        (
            {"scheduler": "pbt", "searcher": "random", "trials": 1, "search": {"optimize.lr": [0.1, 0.2]}},
            "trials: a population has at least 2",
        ),
        (
            {"scheduler": "pbt", "searcher": "random", "budget": {"by": "data"}},
            "budget.by: population based training goes by epochs",
        ),
        (
            {"retrain": {"epochs": 2}, "base": base(optimize={"warmup_epochs": 3})},
            "retrain.epochs: 2 with resnet18: optimize.warmup_epochs: 3 must be less than epochs (2)",
        ),
        (
            {"retrain": {"epochs": 2}, "search": {"optimize.warmup_epochs": [0, 1, 4]}},
            "retrain.epochs: 2 with warmup_epochs 4: optimize.warmup_epochs: 4 must be less than epochs (2)",
        ),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_field(fields: dict[str, Any], message: str) -> None:
    line = problem(**fields)
    assert line.startswith("tune.yaml:") and message in line


def test_values_that_go_together_only_with_some_others_are_taken() -> None:
    search = {"optimize.epochs": [3, 9], "optimize.warmup_epochs": [0, 5]}
    assert TuneConfig.model_validate(search_document(search=search)).trials == 12


def test_a_condition_may_name_what_is_not_searched() -> None:
    search = {"optimize.momentum": {"uniform": [0.5, 0.9], "when": {"optimize.optimizer": ["sgd"]}}}
    assert TuneConfig.model_validate(search_document(search=search)).search["optimize.momentum"].when


def test_the_schema_describes_every_field() -> None:
    assert '"log_uniform"' in config_schema("tune")
    for model in (TuneConfig, Parameter, *(field.annotation for field in TuneConfig.model_fields.values())):
        if isinstance(model, type) and issubclass(model, Frozen):
            assert field_docstrings(model).keys() == model.model_fields.keys()


def test_a_distillation_is_searched_where_the_base_has_a_teacher() -> None:
    search = {"optimize.distill.weight": {"uniform": [0.5, 1]}, "optimize.distill.temperature": [1, 4]}
    taught = base(optimize={"distill": {"teacher": "/runs/big"}})
    config = TuneConfig.model_validate(search_document(base=taught, search=search))
    job = config.trial_config({"optimize.distill.weight": 0.75}, "0001", "/tmp/trials")
    assert job.optimize.distill is not None
    assert (job.optimize.distill.teacher, job.optimize.distill.weight) == ("/runs/big", 0.75)
    line = problem(search=search)
    assert "search.optimize.distill.weight: 0.5 is never possible: optimize.distill.teacher: is missing" in line
    when = {"optimize.momentum": {"uniform": [0.5, 0.9], "when": {"optimize.distill.weight": 1}}}
    assert "when: optimize.distill.weight is never 1: base has None" in problem(search=when)

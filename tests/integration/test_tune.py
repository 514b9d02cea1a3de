"""`scenerec submit tune.yaml` on a real cluster: stopped early, killed, resumed, failing, on too small a cluster."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from typer.testing import CliRunner, Result

from cluster import local
from cluster.address import find_address
from cluster.client import ClusterClient
from scenerec.cli import app
from scenerec.commands.known_jobs import KnownJobs
from scenerec.config.file import parse_as
from scenerec.config.train import TrainConfig
from scenerec.search.trial import Trial
from scenerec.search.trial_store import SearchFolder
from scenerec.training.run_folder import RunFolder
from tests.patience import PATIENCE_S, wait_until
from tests.submitted import submit_file

LEARNS = {"model": {"arch": "resnet18"}}
"""Within an epoch of 100 images, at a learning rate of 0.001."""
HAS_27_GB = psutil.virtual_memory().total + psutil.swap_memory().total > 26e9
"""The first activations of 100 images of 1024 px in vgg11 are 26.8 GB."""

Submit = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def document(stored_scenes: str) -> dict[str, Any]:
    return {
        "kind": "tune",
        "name": "refused",
        "base": {
            "framework": "torch",
            "data": {"train": f"{stored_scenes}/train", "val": f"{stored_scenes}/val", "image_size": 32},
            "model": {"arch": "squeezenet1_1"},
            "optimize": {"epochs": 4, "global_batch_size": 10, "lr": 0.001, "optimizer": "adamw"},
            "scale": {"max_restarts": 0},
        },
        "search": {"optimize.lr": [1e-3, 1e-9]},
        "trials": 2,
        "searcher": "grid",
        "scheduler": {"kind": "asha", "reduction_factor": 2},
        "output": "s3://scenes/runs",
    }


@pytest.fixture
def file(document: dict[str, Any], tmp_path: Path) -> Callable[..., Path]:
    """Writes the document; keywords replace its keys, `base` block by block."""

    def write(base: dict[str, Any] | None = None, **keys: Any) -> Path:
        for block, values in (base or {}).items():
            document["base"][block] = {**document["base"][block], **values} if isinstance(values, dict) else values
        (tmp_path / "tune.yaml").write_text(yaml.safe_dump({**document, **keys}))
        return tmp_path / "tune.yaml"

    return write


@pytest.fixture
def submit(file: Callable[..., Path]) -> Submit:
    """`scenerec submit` of the document, as a user would."""

    def submit(*arguments: str, **keys: Any) -> "subprocess.CompletedProcess[str]":
        return submit_file(file(**keys), *arguments, timeout_s=3 * PATIENCE_S)

    return submit


def command(*arguments: str | Path) -> Result:
    """One that starts nothing, in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def trials_of(name: str) -> list[Trial]:
    return SearchFolder(f"s3://scenes/runs/{name}").trials()


def result_of(submitted: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    assert submitted.returncode == 0, submitted.stderr + submitted.stdout
    return json.loads(submitted.stdout.splitlines()[-1])


def driver(cluster: local.LocalCluster) -> psutil.Process:
    """The process `python -m jobs.tune` of this cluster."""
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if command[1:3] == ["-m", "jobs.tune"] and process.environ().get("AWS_ENDPOINT_URL") == cluster.store_url:
            return process
    raise AssertionError("no search is running")


@pytest.mark.parametrize("scheduler", ["hyperband", pytest.param("asha", marks=pytest.mark.matrix)])
def test_both_frameworks_are_searched_for_several_objectives_and_the_weak_are_stopped_early(
    submit: Submit, file: Callable[..., Path], scheduler: str
) -> None:
    name = f"both-{scheduler}"
    architectures = ["squeezenet1_1", "shufflenet_v2_x0_5"]
    keys: dict[str, Any] = {
        "name": name,
        "search": {
            "framework": ["torch", "tensorflow"],
            "model.arch": {"choice": architectures, "when": {"framework": "torch"}},
        },
        "trials": 3,
        "scheduler": {"kind": scheduler, "reduction_factor": 2},
        "objective": ["val_top1", "parameters", "latency_ms"],
    }
    result = result_of(submit("--json", **keys))
    trials = trials_of(name)
    assert [trial.point for trial in trials] == [
        *({"framework": "torch", "model.arch": arch} for arch in architectures),
        {"framework": "tensorflow"},  # the base's squeezenet1_1
    ]
    ended = sorted((trial.state, trial.epochs_done) for trial in trials)
    if scheduler == "hyperband":
        assert ended == [("finished", 4), ("stopped", 1), ("stopped", 1)]
    assert {state for state, _ in ended} == {"finished", "stopped"}
    assert result["epochs"] == sum(trial.epochs_done for trial in trials) < result["full_epochs"] == 12
    best = trials[result["best"]["trial"]]
    assert best.value("val_top1") == max(trial.value("val_top1") or 0 for trial in trials)

    assert [trial.static["parameters"] for trial in trials] == [1_235_496, 1_366_792, 1_235_496]
    assert trials[0].static["latency_ms"] != trials[1].static["latency_ms"]
    values = {trial.number: trial.values(("val_top1", "parameters", "latency_ms")) for trial in trials}
    better = {
        number: (top1, -parameters, -latency_ms)
        for number, found in values.items()
        if found is not None
        for top1, parameters, latency_ms in [found]
    }
    front = [
        number
        for number, own in better.items()
        if not any(other != own and all(b >= a for a, b in zip(own, other, strict=True)) for other in better.values())
    ]
    assert sorted(each["trial"] for each in result["pareto"]) == sorted(front)

    folder = SearchFolder(f"s3://scenes/runs/{name}")
    config = parse_as(TrainConfig, folder.storage.get("train.yaml").decode(), "train.yaml")
    assert config.framework == best.point["framework"]
    assert config.model.arch == best.point.get("model.arch", "squeezenet1_1")
    report = folder.storage.get("report.html").decode()
    assert "<svg" in report and "trial" in report
    shown = command("tune", "show", name, "--json")
    assert shown.exit_code == 0, shown.output
    again = command("submit", file(**keys))
    assert again.exit_code == 5 and "this search is over (3 trials" in again.stderr


def test_a_killed_driver_frees_the_cluster_and_no_finished_trial_runs_again(
    submit: Submit, cluster: local.LocalCluster
) -> None:
    name, client = "killed-search", ClusterClient(find_address())
    # One trial at a time, so that one has finished and one is in the middle when the driver is killed. A third would
    # begin on too small images: it is refused, before or after that.
    settings: dict[str, Any] = {
        "name": name,
        "base": {"scale": {"workers": 2}, "optimize": {"epochs": 6}},
        "search": {"model.arch": ["squeezenet1_1", "alexnet"], "data.image_size": [32, 64]},
        "trials": 3,
        "scheduler": "none",
    }
    assert submit("--detach", **settings).returncode == 0
    folder = SearchFolder(f"s3://scenes/runs/{name}")
    wait_until(lambda: client.nodes()[0].cpus_used == 2, "a trial that takes both CPUs: its driver takes none")
    searching = driver(cluster)

    def under_way() -> list[Trial]:
        return [trial for trial in folder.trials() if trial.state == "running" and trial.epochs_done >= 1]

    def one_finished_and_one_under_way() -> bool:
        return bool(under_way()) and any(trial.state == "finished" for trial in folder.trials())

    wait_until(one_finished_and_one_under_way, "the second trial's first epoch", 2 * PATIENCE_S)
    searching.kill()
    wait_until(lambda: client.nodes()[0].cpus_used == 0, "the end of the killed search's workers")
    wait_until(lambda: KnownJobs(None).find(name).ended, "the end of the job")
    before = {trial.number: trial for trial in folder.trials()}
    result = result_of(submit("--json", **settings))
    after = {trial.number: trial for trial in folder.trials()}
    assert result["trials"] == {"finished": 2, "stopped": 0, "failed": 0, "refused": 1}
    finished = [trial for trial in before.values() if trial.state == "finished"]
    assert [after[trial.number] for trial in finished] == finished  # not a field of it was written again
    (interrupted,) = (trial for trial in before.values() if trial.state == "running")
    resumed = after[interrupted.number]
    assert resumed.state == "finished" and resumed.epochs_done == 6
    # Times included: those epochs were not run again.
    assert resumed.history[: len(interrupted.history)] == interrupted.history


def test_failing_trials_are_recorded_and_do_not_stop_the_search(submit: Submit) -> None:
    """One learns, one does not, one diverges and one is refused."""
    name = "failing"
    search = {
        "data.image_size": [32, 64],  # alexnet takes no images of 32 px
        "model.arch": ["resnet18", "alexnet"],
        "optimize.lr": {"choice": [1e-3, 1e-9, 1e30], "when": {"data.image_size": 32, "model.arch": "resnet18"}},
    }
    base = {"optimize": {"epochs": 2}}
    result = result_of(submit("--json", name=name, base=base, search=search, trials=4, give_up_after=2))
    learns, idle, diverged, refused = trials_of(name)
    assert (learns.point["optimize.lr"], learns.state, learns.epochs_done) == (1e-3, "finished", 2)
    assert (idle.point["optimize.lr"], idle.state, idle.epochs_done) == (1e-9, "stopped", 1)
    assert diverged.state == "failed" and "the loss is nan" in (diverged.reason or "")
    assert refused.state == "refused" and "alexnet" in (refused.reason or "")
    assert result["best"]["trial"] == 0
    assert result["trials"] == {"finished": 1, "stopped": 1, "failed": 1, "refused": 1}


def test_when_its_time_is_up_a_search_ends_with_what_it_has(submit: Submit) -> None:
    """More than it takes to an epoch, on a busy machine as well, and less than to the end."""
    base = {"optimize": {"epochs": 9000}}
    keys = {"search": {"optimize.lr": [1e-3, 1e-4]}, "trials": 2, "scheduler": "none", "concurrent_trials": 1}
    for seconds in (45, 120, 300):
        done = submit("--json", name=f"hurried-{seconds}", base=base, max_hours=seconds / 3600, **keys)
        trials = trials_of(f"hurried-{seconds}")
        if trials and trials[0].epochs_done:
            break
    result = result_of(done)
    assert trials[0].state == "stopped" and 1 <= trials[0].epochs_done < 9000
    assert result["best"]["trial"] == 0 and all(trial.is_ended for trial in trials)


@pytest.mark.matrix
def test_a_search_of_failures_alone_gives_up_and_says_why(submit: Submit) -> None:
    """The first wants more memory than there is, where there are no 27 GB; the others diverge."""
    search: dict[str, Any] = {"optimize.lr": [1e30, 1e31, 1e32]}
    if not HAS_27_GB:
        search = {
            "data.image_size": [1024, 32],
            "model.arch": {"choice": ["vgg11"], "when": {"data.image_size": 1024}},
            "optimize.global_batch_size": {"choice": [100], "when": {"data.image_size": 1024}},
            "optimize.lr": {"choice": [1e30, 1e31], "when": {"data.image_size": 32}},
        }
    given_up = submit(name="hopeless", search=search, trials=3, concurrent_trials=1, give_up_after=2)
    assert given_up.returncode == 1
    assert "no trial came to a result: the loss is nan" in given_up.stderr
    first, second = trials_of("hopeless")
    assert first.state == second.state == "failed"
    assert ("the loss is nan" if HAS_27_GB else "memory") in (first.reason or ""), first


@pytest.mark.matrix
def test_progressive_budgets_begin_small(submit: Submit) -> None:
    name = "levels"
    base = {**LEARNS, "optimize": {"epochs": 2}}
    budget = {"by": "data", "levels": [0.5, 1]}
    result = result_of(submit("--json", name=name, base=base, budget=budget, concurrent_trials=1))
    trials = trials_of(name)
    runs = [RunFolder(f"s3://scenes/runs/{name}/trials/0000.level-{level}").read_config() for level in (1, 2)]
    assert [run.data.train_share for run in runs] == [0.5, 1]
    assert trials[0].cost == pytest.approx(2 * 0.5 + 2)
    assert (trials[0].state, trials[0].level, trials[0].epochs_done) == ("finished", 2, 4)
    assert (trials[1].state, trials[1].level) == ("stopped", 1)  # it learns nothing, and stops at the first rung
    assert result["best"]["trial"] == 0


def test_a_population_copies_its_best_and_changes_their_settings(submit: Submit) -> None:
    """One at a time: the two take turns, so that at its second turn one meets the other's weights."""
    name = "population"
    search = {"optimize.lr": {"log_uniform": [1e-12, 1e-2]}, "optimize.weight_decay": {"uniform": [0.0, 0.1]}}
    scheduler = {"kind": "pbt", "grace_epochs": 2, "quantile": 0.5}
    base = {"optimize": {"epochs": 6}}
    settings: dict[str, Any] = {"search": search, "searcher": "random", "scheduler": scheduler, "seed": 3}
    result_of(submit("--json", name=name, base=base, concurrent_trials=1, **settings))
    trials = trials_of(name)
    assert [trial.state for trial in trials] == ["finished", "finished"]
    copied = [trial for trial in trials if trial.parts]
    assert copied, "none of the two took over the other's weights"
    for trial in copied:
        assert trial.run is not None and trial.run.endswith(f".part-{trial.parts}")
        assert len(trial.history) == 6  # with the epochs of the one that it was copied from


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"search": {"optimize.lrr": [1]}}, "search.optimize.lrr: is no field of a training job; did you mean"),
        ({"search": {"model.arch": ["resnet51"]}}, "search.model.arch: 'resnet51' is never possible"),
        ({"search": {"optimize.lr": {"uniform": [0.1, 0.01]}}}, "the first number must be below the second"),
        ({"base": {"scale": {"workers": 3, "cpus_per_worker": 1}, "optimize": {"global_batch_size": 9}}}, "room for 2"),
        ({"base": {"data": {"train": "s3://scenes/nowhere"}}}, "no packed data set here"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(
    keys: dict[str, Any], message: str, file: Callable[..., Path]
) -> None:
    refused = command("submit", file(name="refused", **keys))
    assert refused.exit_code in (2, 4) and message in refused.stderr, refused.stderr
    assert not trials_of("refused")

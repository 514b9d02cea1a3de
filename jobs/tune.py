"""The search's job: `python -m jobs.tune config.yaml` on the cluster runs the trials, and ends with the best config."""

import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from jobs.log import say
from jobs.main import job_id, main
from jobs.tracking import trials_shown_elsewhere
from jobs.train import run as run_training
from scenerec.config.file import dump_config, parse_as
from scenerec.config.tune import TuneConfig
from scenerec.config.yaml_text import read_text
from scenerec.errors import ScenerecError
from scenerec.job_log import Note
from scenerec.json_object import JsonObject
from scenerec.search.best import best_config, best_trial
from scenerec.search.plan import trials_at_once
from scenerec.search.report import write_report
from scenerec.search.result import search_result
from scenerec.search.samplers import make_sampler
from scenerec.search.standing import savings
from scenerec.search.trial import Trial
from scenerec.search.trial_store import BEST_CONFIG_FILE, SearchFolder
from scenerec.training.run_folder import RunFolder

if TYPE_CHECKING:  # they import Ray, which reads the settings below
    from ray.tune.experiment import Trial as TuneTrial

    from jobs.search_log import SearchLog

TRIAL_RESTARTS = 2

# Read by Ray Tune when it is imported.
_TUNE_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that fails has reported nothing
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # a session goes on from the trials' own files
    "RAY_AIR_NEW_OUTPUT": "0",
}

# Ray gives the head of every cluster 1 of it: trial drivers run there, and take no CPU from the workers.
_HEAD = "node:__internal_head__"
_SHARE_OF_HEAD = 0.001
_MOST_OF_HEAD = 0.9


def run_file(file: str) -> JsonObject:
    """Runs the search of the config in `file` and returns the content of result.json. Raises ScenerecError."""
    return run(parse_as(TuneConfig, read_text(file), file))


def run(config: TuneConfig) -> JsonObject:
    """Runs the trials that the search's folder has not yet, and returns the content of result.json.

    Raises ScenerecError where no trial came to anything.
    """
    folder = SearchFolder(config.run_url, config.base.data.patience)
    folder.check_same_search(config)
    folder.write_config(config)
    folder.begin()
    with trials_shown_elsewhere(config):
        trials = _search(config, folder.trials())
    best = best_trial(config, trials)
    if best is None:
        reasons = [trial.reason for trial in trials if trial.reason]
        raise ScenerecError(f"no trial came to a result: {reasons[-1] if reasons else 'none was proposed'}")
    winner = best_config(config, best)
    folder.storage.put(BEST_CONFIG_FILE, dump_config(winner).encode())
    result = search_result(config, trials, best)
    folder.write_result(result)
    write_report(folder, config, trials)
    say(Note(str(savings(config, trials))))
    if config.retrain is not None:
        result["retrained"] = _retrain(config, best)
        folder.write_result(result)
    return result


def _search(config: TuneConfig, earlier: list[Trial]) -> list[Trial]:
    """Runs trials until there are as many as wanted; returns all."""
    ended = [trial for trial in earlier if trial.is_ended]
    unfinished = [trial for trial in earlier if not trial.is_ended]
    if len(ended) >= config.trials:
        return earlier
    os.environ.update(_TUNE_SETTINGS)
    import ray

    from jobs.nodes import nodes_alive
    from jobs.search_gauges import SearchGauges
    from jobs.search_log import SearchLog

    ray.init(log_to_driver=False, logging_level="ERROR")
    at_once = trials_at_once(config, nodes_alive())
    say(Note(f"{at_once} trial(s) at once; {len(ended)} of {config.trials} ended before, {len(unfinished)} go on"))
    with SearchGauges(config.name) as gauges, tempfile.TemporaryDirectory(prefix="scenerec-tune-") as notes:
        log = SearchLog(config, job_id(), make_sampler(config, earlier), earlier, say, gauges.observe)
        _tuner(config, log, unfinished, at_once, notes).fit()
    ray.shutdown()  # a training after it connects anew, and shows its workers' lines
    trials = log.close()
    if log.gives_up:
        say(Note(f"gave up after {log.failures_in_a_row} failed trials in a row"))
    return trials


def _tuner(config: TuneConfig, log: "SearchLog", unfinished: list[Trial], at_once: int, notes: str) -> Any:
    """Ray Tune with our trials, sampler, scheduler and log. Its own notes are for this session alone."""
    from ray import tune

    from jobs.halving import HalvingScheduler
    from jobs.schedulers import make_scheduler, mode
    from jobs.search_source import TrialSource
    from jobs.trial import run_trial

    objective = config.objective[0]
    ended = [trial for trial in log.trials.values() if trial.is_ended]
    scheduler = make_scheduler(config, ended, at_once)
    halves = isinstance(scheduler, HalvingScheduler)
    source = TrialSource(log, unfinished, objective, mode(objective), scheduler.may_begin if halves else lambda: True)
    proposals: JsonObject = {"search_alg": source, "num_samples": config.trials - len(ended)}
    param_space, limit, share_of_head = {}, None if halves else at_once, _SHARE_OF_HEAD
    if config.scheduler.kind == "pbt":
        # Tune takes no searcher beside it: the population is all there from the start. Its limit would count those
        # that are paused, so that the others never came: the head's resource limits who runs.
        proposals, limit, share_of_head = {}, None, _MOST_OF_HEAD / at_once
        param_space = {"trial": tune.grid_search(source.population())}
    trainable = tune.with_parameters(run_trial, search=config.model_dump(mode="json"), session=log.session)
    return tune.Tuner(
        tune.with_resources(trainable, tune.PlacementGroupFactory([{_HEAD: share_of_head}])),
        param_space=param_space,
        tune_config=tune.TuneConfig(
            **proposals,
            metric=objective,
            mode=mode(objective),
            scheduler=scheduler,
            max_concurrent_trials=limit,
            time_budget_s=config.max_hours * 3600 if config.max_hours else None,
            reuse_actors=False,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=config.name,
            storage_path=notes,
            callbacks=[log],
            failure_config=tune.FailureConfig(max_failures=TRIAL_RESTARTS),
            verbose=0,
        ),
    )


def _trial_name(trial: "TuneTrial") -> str:
    return f"{trial.config['trial']['number']:04d}"


def _retrain(config: TuneConfig, best: Trial) -> JsonObject:
    """Trains the best config in full, and exports it."""
    winner = best_config(config, best)
    say(Note(f"training the best config in full: {winner.run_url}"))
    folder = RunFolder(winner.run_url, config.base.data.patience)
    if folder.storage.size("config.yaml") is not None and folder.read_job() != winner:
        folder.clear()  # an earlier session of the search had another winner
    result = run_training(winner)
    assert config.retrain is not None
    return {**result, "bundle": _export(winner.run_url) if config.retrain.export else None}


def _export(run_url: str) -> str | None:
    """The bundle of a run, by a process of its own: exporters keep memory. Where a gate holds it back, None."""
    command = [sys.executable, "-m", "scenerec", "export", run_url, "--json"]
    exported = subprocess.run(command, capture_output=True, text=True, check=False)
    if exported.returncode:
        reasons = [line for line in exported.stderr.splitlines() if line.startswith("error: ")]
        say(Note(f"not exported: {reasons[-1].removeprefix('error: ') if reasons else 'see the log'}"))
        return None
    return json.loads(exported.stdout.splitlines()[-1])["url"]


if __name__ == "__main__":
    sys.exit(main("jobs.tune"))

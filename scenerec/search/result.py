"""What a search came to: the content of its result.json; pure."""

from collections.abc import Sequence

from scenerec.config.tune import TuneConfig
from scenerec.json_object import JsonObject
from scenerec.search.standing import leaderboard, pareto_front, savings
from scenerec.search.trial import Trial
from scenerec.search.trial_store import BEST_CONFIG_FILE, REPORT_FILE

_LEADERS = 5


def search_result(config: TuneConfig, trials: Sequence[Trial], best: Trial) -> JsonObject:
    """The best trials, what was run and what that saved, and where the files are. JSON values."""
    saved = savings(config, trials)
    front = pareto_front(trials, config.objective) if len(config.objective) > 1 else []
    leaders = leaderboard(trials, config.objective)[:_LEADERS]
    states = ("finished", "stopped", "failed", "refused")
    return {
        "search": config.run_url,
        "trials": {state: sum(trial.state == state for trial in trials) for state in states},
        "best": _summary(config, best),
        "pareto": [_summary(config, trial) for trial in front],
        "leaders": [_summary(config, trial) for trial in leaders],
        "epochs": round(saved.epochs, 2),
        "full_epochs": round(saved.full_epochs, 2),
        "savings": str(saved),
        "config": f"{config.run_url}/{BEST_CONFIG_FILE}",
        "report": f"{config.run_url}/{REPORT_FILE}",
    }


def _summary(config: TuneConfig, trial: Trial) -> JsonObject:
    return {
        "trial": trial.number,
        "state": trial.state,
        "epochs": trial.epochs_done,
        "values": {objective: trial.value(objective) for objective in config.objective},
        "point": trial.point,
        "run": trial.run,
    }

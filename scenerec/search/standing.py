"""How the trials of a search stand: who leads, the Pareto front, and what early stopping saved; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from scenerec.config.tune import TuneConfig
from scenerec.search.objectives import towards_better
from scenerec.search.trial import Trial


@dataclass(frozen=True)
class Savings:
    """What a search cost beside the same trials run to their ends."""

    trials: int
    """Trials that have run at all."""
    stopped: int
    """Trials that were stopped early."""
    epochs: float
    """Epochs that were run, in epochs of the full resolution and data."""
    full_epochs: float
    """Epochs of the same trials, had none been stopped early or begun on a lower level."""

    @property
    def share(self) -> float:
        """The part that was run, of what it would have been."""
        return self.epochs / self.full_epochs if self.full_epochs else 0.0

    def __str__(self) -> str:
        change = f"{1 - self.share:.0%} saved" if self.share <= 1 else f"{self.share - 1:.0%} more than without levels"
        return (
            f"{self.stopped} of {self.trials} trials stopped early: {self.epochs:.0f} of {self.full_epochs:.0f} epochs "
            f"run, {change}"
        )


def leaderboard(trials: Sequence[Trial], objectives: Sequence[str]) -> list[Trial]:
    """The best first, by the first objective and the further ones after it; those without a value last.

    Who reached a higher level of resolution or data stands before all who did not. Of equal ones a finished trial comes
    first, then the cheaper one, then the earlier one.
    """

    def rank(trial: Trial) -> tuple[object, ...]:
        values = trial.values(objectives)
        if values is None:
            return (1, (), trial.number)
        better = tuple(-towards_better(each, value) for each, value in zip(objectives, values, strict=True))
        return (0, (-trial.level, *better), trial.state != "finished", trial.cost, trial.number)

    return sorted(trials, key=rank)


def pareto_front(trials: Sequence[Trial], objectives: Sequence[str]) -> list[Trial]:
    """The trials that no other one beats: none is at least as good in all objectives and better in one.

    Only those count that reached the highest level of resolution or data.
    """
    top = max((trial.level for trial in trials if trial.values(objectives)), default=1)

    def scores(trial: Trial) -> tuple[float, ...] | None:
        values = trial.values(objectives)
        return values and tuple(towards_better(each, value) for each, value in zip(objectives, values, strict=True))

    scored = [(trial, score) for trial in trials if trial.level == top and (score := scores(trial))]
    front = [
        trial
        for trial, score in scored
        if not any(other != score and all(b >= a for a, b in zip(score, other, strict=True)) for _, other in scored)
    ]
    return leaderboard(front, objectives)


def savings(config: TuneConfig, trials: Sequence[Trial]) -> Savings:
    """What stopping early has saved. Trials that failed or still run count as far as they came: they saved nothing."""
    ran = [trial for trial in trials if trial.state != "refused"]
    full = sum(full_cost(config, each) if each.state in ("finished", "stopped") else each.cost for each in ran)
    return Savings(len(ran), sum(trial.state == "stopped" for trial in ran), sum(trial.cost for trial in ran), full)


def full_cost(config: TuneConfig, trial: Trial) -> float:
    """Epochs of the trial's config trained once in full, without levels."""
    return float(trial.point.get("optimize.epochs", config.base.optimize.epochs))

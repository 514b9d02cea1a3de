"""One trial of a search: what Ray Tune runs. It trains as `jobs.train` does, and tells Tune of each epoch.

The driver of a trial takes no CPU: only its workers count, so that drivers never keep workers waiting. What it tells is
read from the run's folder: a trial that is paused, killed or resumed goes on from its own checkpoints.
"""

import json
import secrets
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from jobs.train import Reporter, fit
from scenerec.config.run import RunConfig
from scenerec.config.tune import TuneConfig
from scenerec.epoch_metrics import EpochMetrics
from scenerec.errors import ScenerecError
from scenerec.job_log import Event
from scenerec.json_object import JsonObject
from scenerec.search.levels import Level, judged_epochs, trial_levels, trial_name
from scenerec.search.relay import Bookmark, Relay, RunNews, allow, wait_until_allowed
from scenerec.search.statics import static_values
from scenerec.search.trial_store import SearchFolder
from scenerec.training.run_folder import RunFolder
from scenerec.training.run_preflight import plan_run
from scenerec.world import World

POLL_S = 0.5
BOOKMARK_FILE = "bookmark.json"

_PAUSE_TRIALS = frozenset({"asha", "hyperband", "pbt"})  # Tune wants a checkpoint of each epoch then

Tell = Callable[[RunNews, Level, Bookmark], None]


def run_trial(settings: JsonObject, search: JsonObject, session: str) -> None:
    """Tune's function: the trial of `settings["trial"]`, of the search `search`, in a session of its driver.

    An error of the user's kind ends the trial and is left in its folder: another attempt would meet it again. Others
    are raised, and Tune starts the trial anew.
    """
    from ray import tune

    config, wanted = TuneConfig.model_validate(search), settings["trial"]
    number = int(tune.get_context().get_trial_name())  # a population copies another trial's settings, its number too
    folder = SearchFolder(config.run_url, config.base.data.patience)
    try:
        checkpoint = tune.get_checkpoint()
        bookmark = bookmark_of(checkpoint) if checkpoint else None
        if bookmark and bookmark.trial != trial_name(number):  # another's, of which this trial has a copy
            bookmark = Bookmark(**wanted["copy"])
        part = bookmark.part if bookmark else wanted["part"]
        levels = trial_levels(config, number, wanted["point"], part)
        plan = plan_run(levels[-1].config)
        static = static_values(config.objective, levels[-1].config, plan.classes, folder.storage)
        keeps_place = config.scheduler.kind in _PAUSE_TRIALS

        def tell(news: RunNews, level: Level, place: Bookmark) -> None:
            told = {"rung_time": news.rung_time, "is_last": news.is_last, "level": level.number, "part": place.part}
            _report({**news.metrics.as_dict(), **static, **told}, place if keeps_place else None)

        for level in _levels_left(levels, bookmark):
            _train_level(config, level, bookmark, Bookmark(level.config.run_url, trial_name(number), part, 0), tell)
    except ScenerecError as error:
        folder.write_failure(number, session, str(error).splitlines()[0])


def _train_level(config: TuneConfig, level: Level, bookmark: Bookmark | None, here: Bookmark, tell: Tell) -> None:
    """Trains the run of a level, from its newest checkpoint where it has one, and tells of every epoch once."""
    relay = Relay(config, level)
    if bookmark is not None and bookmark.run == here.run:
        relay.told_epochs = bookmark.epoch
    judged = judged_epochs(config, level.config.optimize.epochs)

    def tell_news() -> None:
        for news in relay.news():
            tell(news, level, Bookmark(here.run, here.trial, here.part, relay.told_epochs))
            if news.metrics.epoch in judged:
                allow(relay.folder, news.metrics.epoch)

    tell_news()  # what an earlier session has trained is judged before any more is spent
    if relay.folder.read_result() is not None:
        return
    training = _begin_fit(level, judged)
    while wait([training], POLL_S).not_done:
        tell_news()
    tell_news()
    training.result()


@dataclass(frozen=True)
class TrialReporter(Reporter):
    """The reporter of a trial: its workers print nothing, and wait for the scheduler's word where it may end them."""

    exports: ClassVar[bool] = False  # there are many trials, of which jobs.search_gauges tells
    judged_epochs: tuple[int, ...]

    @override
    def say(self, event: Event) -> None:
        """Says nothing: the search's log tells of each epoch."""

    @override
    def report(self, config: RunConfig, world: World, metrics: EpochMetrics) -> None:
        """Waits for the scheduler's word, rank 0 for all: the others meet it in the next step."""
        if world.is_chief and metrics.epoch in self.judged_epochs:
            wait_until_allowed(RunFolder(config.run_url, config.data.patience), metrics.epoch)


def _begin_fit(level: Level, judged_epochs: tuple[int, ...]) -> Future[JsonObject]:
    """Runs a level on its workers in a thread of its own: the thread of the trial reports to Tune."""
    config, fitted = level.config, Future[JsonObject]()

    def run() -> None:
        try:
            attempt = f"{config.name}-{secrets.token_hex(4)}"
            fitted.set_result(fit(config, plan_run(config), attempt, TrialReporter(judged_epochs)))
        except BaseException as error:
            fitted.set_exception(error)

    # Not an executor's, which a process that Tune ends would wait for.
    threading.Thread(target=run, daemon=True, name=f"fit-{config.name}").start()
    return fitted


def _report(metrics: dict[str, int | float | str], place: Bookmark | None) -> None:
    """Tells Tune, which stops the trial here if its scheduler says so."""
    from ray import tune

    if place is None:
        tune.report(metrics)
        return
    with tempfile.TemporaryDirectory(prefix="scenerec-") as folder:
        (Path(folder) / BOOKMARK_FILE).write_text(json.dumps(asdict(place)))
        tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


def bookmark_of(checkpoint: Any) -> Bookmark:
    """Returns what `run_trial` gave Tune as its checkpoint."""
    with checkpoint.as_directory() as folder:
        return Bookmark(**json.loads((Path(folder) / BOOKMARK_FILE).read_text()))


def _levels_left(levels: list[Level], bookmark: Bookmark | None) -> list[Level]:
    """The levels from the bookmarked one on: Tune has been told of those before it."""
    runs = [level.config.run_url for level in levels]
    return levels[runs.index(bookmark.run) :] if bookmark is not None and bookmark.run in runs else levels

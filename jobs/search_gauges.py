"""What a search exports for Prometheus while it runs: how many of its trials are in which state."""

from collections import Counter
from collections.abc import Iterable
from typing import get_args

from cluster.gauges import LastingGauges
from scenerec.search.trial import State, Trial

TRIALS = "scenerec_search_trials"
SEARCH_GAUGES = {TRIALS: "Trials of a search that are in a state."}


class SearchGauges(LastingGauges):
    """The gauges of a search of this name, told by its driver."""

    def __init__(self, name: str) -> None:
        super().__init__(SEARCH_GAUGES, {"search": name})

    def observe(self, trials: Iterable[Trial]) -> None:
        """Takes note of how all trials stand."""
        counts = Counter(trial.state for trial in trials)
        for state in get_args(State):
            self.set(TRIALS, float(counts[state]), state=state)

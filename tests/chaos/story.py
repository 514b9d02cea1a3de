"""The run undisturbed, then the same under the strikes of a plan."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from math import inf

from scenerec.job_log import format_duration
from tests.chaos.plan import Plan, Strike, is_overcome, may_strike
from tests.chaos.report import Requests, Struck
from tests.chaos.run import Run
from tests.chaos.scene import FEWEST_NODES, NODES, Scene
from tests.chaos.strikes import GiveBack, befall
from tests.steady_load import SteadyLoad

Say = Callable[[str], None]

_LOOK_EVERY_S = 0.2
_SAY_EVERY_S = 15.0
_STANDSTILL_S = 600.0


@dataclass
class _Taken:
    """What a strike has taken, and when it is to be given back."""

    strike: Strike
    give_back: GiveBack
    due_s: float
    returning: "Future[None] | None" = None
    """That it is being given back: a node takes its time to start."""


@dataclass
class _Watch:
    """Says every now and then how a run stands, and gives up one that stands still."""

    run: Run
    steps: int
    say: Say
    step: int = 0
    first_s: float | None = None
    """When a step was seen first."""
    moved_s: float = field(default_factory=time.monotonic)
    said_s: float = 0.0

    def look(self, what_is: str) -> int:
        """The step of the run."""
        now_s, step = time.monotonic(), self.run.step
        if step > self.step:
            self.first_s = self.first_s or now_s
            self.step, self.moved_s = step, now_s
        if now_s - self.moved_s > _STANDSTILL_S:
            self.run.give_up(f"has stood at step {step} for {_STANDSTILL_S:.0f} s")
        if now_s - self.said_s > _SAY_EVERY_S:
            self.said_s = now_s
            passed_s = now_s - self.first_s if self.first_s else 0.0
            left = f"; about {format_duration((self.steps - step) * passed_s / step)} to go" if passed_s else ""
            self.say(f"step {step} of {self.steps}{what_is}{left}")
        return step


def complete(run: Run, plan: Plan, say: Say) -> None:
    """Lets a run come to its end, undisturbed."""
    watch = _Watch(run, plan.steps, say)
    run.start()
    while run.is_under_way:
        watch.look(", undisturbed")
        time.sleep(_LOOK_EVERY_S)


def disturb(scene: Scene, run: Run, plan: Plan, load: SteadyLoad, say: Say) -> list[Struck]:
    """Lets a run come to its end under the strikes of a plan; returns those that came.

    A strike comes at its step, when the run has overcome the one before it and what that took is given back; a node
    that is away may stay so, if enough are left.
    """
    watch = _Watch(run, plan.steps, say)
    struck: list[Struck] = []
    taken: list[_Taken] = []
    to_come = list(plan.strikes)
    befell_s = -inf
    run.start()
    with ThreadPoolExecutor() as threads:
        while run.is_under_way or taken:
            step = watch.look("".join(f", {each.strike.kind.words}" for each in taken))
            for each in list(taken):
                if each.returning is None and time.monotonic() >= each.due_s:
                    each.returning = threads.submit(each.give_back)
                elif each.returning and each.returning.done():
                    each.returning.result()
                    taken.remove(each)
                    say(f"strike {each.strike.number} is over: {each.strike.kind.words}")
            is_due = to_come and step >= to_come[0].at_step and run.is_under_way
            if is_due and is_overcome(time.monotonic(), befell_s, watch.moved_s) and _has_room(to_come[0], taken):
                strike = to_come.pop(0)
                say(f"strike {strike.number} of {len(plan.strikes)} at step {step}: {_words(strike)}")
                struck.append(Struck(strike, time.monotonic(), Requests.of(load.tally)))
                give_back = befall(scene, strike, run.ranks.get(strike.rank))
                befell_s = time.monotonic()
                taken.append(_Taken(strike, give_back, struck[-1].at_s + strike.lasts_s))
            time.sleep(_LOOK_EVERY_S)
    return struck


def _has_room(strike: Strike, taken: list[_Taken]) -> bool:
    away = sum(each.strike.kind.takes_node for each in taken)
    return len(taken) == away and may_strike(strike.kind, away, NODES, FEWEST_NODES)


def _words(strike: Strike) -> str:
    lasts = f", for {strike.lasts_s} s" if strike.lasts_s else ""
    return f"{strike.kind.words} (rank {strike.rank}){lasts}"

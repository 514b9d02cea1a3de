"""Hits a training run and a deployment by seeded faults, and says what it cost: `python -m tests.chaos --seed 1`.

The same run is made undisturbed first. Both must have been trained on the same batches, to a history that is equal bit
by bit, and no request may be lost. A row of tests/bench/chaos.csv and rows of tests/bench/chaos_strikes.csv
tell what it cost, and tests/bench/chaos.png shows it. Needs root, and the memory of a small cluster: 8 GB.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import Any

from scenerec.errors import CheckpointError
from tests.chaos.picture import draw
from tests.chaos.plan import KINDS, STEPS_PER_EPOCH, FaultKind, make_plan
from tests.chaos.report import Requests, Verdict, outcomes, table
from tests.chaos.rows import write_rows
from tests.chaos.run import Run
from tests.chaos.scene import NODES, loaded_endpoint, open_scene, pack_scenes, run_document
from tests.chaos.story import complete, disturb
from tests.chaos.timeline import goodput
from tests.nodes.machines import why_not

WORKERS = 2
_PICTURE = Path(__file__).parents[1] / "bench" / "chaos.png"
_SHOWN = 10
"""Lost requests that are told in full."""
_USUAL_PAUSES = 1.5
"""A pause counts as a strike's consequence if it is longer than so many times the longest without a strike."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="of the faults")
    parser.add_argument("--minutes", type=float, default=60, help="how long the disturbed run shall take, about")
    parser.add_argument("--framework", choices=("torch", "tensorflow"), default="torch")
    parser.add_argument(
        "--elastic", action="store_true", help=f"on 1 to {NODES} workers, of which only the batches are compared"
    )
    parser.add_argument(
        "--only", nargs="+", choices=[kind.name for kind in KINDS], metavar="FAULT", help="these faults and no others"
    )
    parser.add_argument("--folder", type=Path, help="for logs, which are then kept")
    options = parser.parse_args()
    if reason := why_not():
        sys.exit(reason)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C does: what was started is ended
    with tempfile.TemporaryDirectory(prefix="chaos-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        kinds = tuple(kind for kind in KINDS if kind.name in (options.only or kind.name))
        problems = chaos(options.seed, options.minutes, options.framework, options.elastic, folder, kinds)
        sys.exit("\n".join(problems) or None)


def chaos(
    seed: int, minutes: float, framework: str, is_elastic: bool, folder: Path, kinds: Sequence[FaultKind] = KINDS
) -> list[str]:
    """Makes the run twice, undisturbed and disturbed, and writes down what it cost; returns what must not have been.

    Args:
        seed: of the faults.
        minutes: how long the disturbed run shall take, about.
        framework: torch or tensorflow.
        is_elastic: whether the run takes as many workers as there are nodes, in place of two.
        folder: for logs, and the machines' disks.
        kinds: what may happen.
    """
    plan = make_plan(seed, minutes, WORKERS, kinds)
    workers = {"min": 1, "max": NODES} if is_elastic else WORKERS
    say(f"seed {seed}: {len(plan.strikes)} strikes upon {plan.steps} steps; {NODES} nodes, head and store are starting")
    with open_scene(folder) as scene:
        pack_scenes()
        whole, disturbed = (
            Run(scene.client, run_document(name, framework, workers, plan.epochs), folder)
            for name in ("undisturbed", "disturbed")
        )
        say("deploying a model in two replicas")
        with loaded_endpoint(scene) as load:
            complete(whole, plan, say)
            if problem := whole.problem or ("has stopped to learn" if whole.trained().is_dead else ""):
                return [f"{whole.name}: {problem}"]
            quiet = Requests.of(load.tally)
            struck = disturb(scene, disturbed, plan, load, say)
            ended = Requests.of(load.tally)
        if not struck:
            return [f"{disturbed.name}: {disturbed.problem or 'ended before the first strike'}"]
        verdict = _judge(disturbed, whole, is_elastic, ended.since(quiet))
    usual_s = _USUAL_PAUSES * whole.timeline.longest_pause_s()
    found = outcomes(struck, disturbed.timeline, usual_s, ended)
    figures = {
        "seed": seed,
        "minutes": minutes,
        "framework": framework,
        "workers": f"1-{NODES}" if is_elastic else WORKERS,
        "nodes": NODES,
        "kinds": "all" if kinds == KINDS else " ".join(kind.name for kind in kinds),
        **_figures(disturbed, whole, verdict),
        "strikes": len(struck),
    }
    print(table(found))
    print("\n".join(f"{name:<17} {value}" for name, value in figures.items()))
    print("\n".join(load.tally.lost[:_SHOWN]))
    write_rows(figures, found)
    title = f"seed {seed}, {framework}: goodput {verdict.goodput:.0%}\n{verdict.comparison}"
    picture = _PICTURE if kinds == KINDS else folder / _PICTURE.name
    print(draw(picture, disturbed.timeline, whole.timeline, found, title))
    return verdict.problems


def _judge(disturbed: Run, whole: Run, is_elastic: bool, requests: Requests) -> Verdict:
    problems = [f"{disturbed.name}: {disturbed.problem}"] if disturbed.problem else []
    losses = nan, nan
    if not problems:
        try:
            trained, undisturbed = disturbed.trained(), whole.trained()
            problems = trained.differences(undisturbed, is_elastic)
            losses = trained.epochs[-1].train_loss, undisturbed.epochs[-1].train_loss
        except CheckpointError as error:
            problems = [str(error)]
    return Verdict(goodput(disturbed.timeline, whole.timeline, STEPS_PER_EPOCH), requests, problems, losses)


def _figures(disturbed: Run, whole: Run, verdict: Verdict) -> dict[str, Any]:
    return {
        "steps": disturbed.step,
        "steps_redone": disturbed.timeline.redone,
        "restarts": disturbed.restarts,
        "submissions": disturbed.submissions,
        "undisturbed_s": f"{whole.timeline.wall_s:.0f}",
        "disturbed_s": f"{disturbed.timeline.wall_s:.0f}",
        "goodput": f"{verdict.goodput:.3f}",
        "requests": sum(verdict.requests),
        "requests_refused": verdict.requests.refused,
        "requests_lost": verdict.requests.lost,
        "result": verdict.comparison,
    }


def say(text: str) -> None:
    """Prints a line with the time of day."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    main()

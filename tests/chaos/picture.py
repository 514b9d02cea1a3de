"""How the disturbed run came forward, strike by strike, beside the same run undisturbed."""

import statistics
from collections.abc import Iterator, Sequence
from math import inf
from pathlib import Path

from tests.chaos.plan import KINDS
from tests.chaos.report import Outcome
from tests.chaos.timeline import Timeline

_LIGHT, _DARK, _FAULT = "#f2a27f", "#1f3a5f", "#b3261e"
_LISTED = 20
"""Most strikes that are numbered and listed one by one; of more, each kind of fault has a line."""


def draw(path: Path, disturbed: Timeline, whole: Timeline, found: Sequence[Outcome], title: str) -> Path:
    """Draws steps over minutes into a PNG, with the strikes, and below what each of them cost; returns its path.

    Of many strikes it tells what each kind cost. It is read as wide as a telephone.

    Args:
        path: of the PNG.
        disturbed: the run with the strikes.
        whole: the same without.
        found: the strikes and what each cost.
        title: the figures in a line or two.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    lines = list(_listed(found) if len(found) <= _LISTED else _summed_up(found))
    legend_inches = 0.19 * (len(lines) + 1)
    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(5.0, 3.9 + legend_inches), height_ratios=(3.9, legend_inches), layout="constrained"
    )
    for run, color, width, label in ((whole, _LIGHT, 4.0, "undisturbed"), (disturbed, _DARK, 1.3, "with faults")):
        minutes = [(point.at_s - run.firsts[0].at_s) / 60 for point in run.points]
        above.plot(
            minutes,
            [point.step for point in run.points],
            color=color,
            linewidth=width,
            label=label,
            drawstyle="steps-post",
        )
    top = disturbed.firsts[-1].step
    for each in found:
        begins = each.at_s / 60
        above.axvspan(begins, begins + (each.recovery_s or 0) / 60, color=_FAULT, alpha=0.12, linewidth=0)
        above.axvline(begins, color=_FAULT, linewidth=0.8)
        if len(found) <= _LISTED:
            above.text(begins, top * 1.02, str(each.strike.number), color=_FAULT, ha="center", va="bottom", fontsize=9)
    above.set(xlabel="minutes", ylabel="steps", xlim=(0, None), ylim=(0, top * 1.09))
    above.set_title(title, fontsize=10, loc="left")
    above.legend(frameon=False, loc="lower right", fontsize=10)
    above.spines[["top", "right"]].set_visible(False)
    below.axis("off")
    for place, (number, words, recovery) in enumerate(lines):
        height = 1 - (place + 0.5) / len(lines)
        for x, text, color, ha in ((0.05, number, _FAULT, "right"), (0.08, words, "black", "left")):
            below.text(x, height, text, color=color, ha=ha, va="center", fontsize=9)
        below.text(1.0, height, recovery, ha="right", va="center", fontsize=9)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return path


def _listed(found: Sequence[Outcome]) -> Iterator[tuple[str, str, str]]:
    """The number of each strike, what it was, and how long it took to recover."""
    for each in found:
        lasts = f", {each.strike.lasts_s} s" if each.strike.lasts_s else ""
        yield str(each.strike.number), each.strike.kind.words + lasts, each.recovery


def _summed_up(found: Sequence[Outcome]) -> Iterator[tuple[str, str, str]]:
    """How often each kind of fault came, what it is, and how long it took to recover: the median and the longest."""
    for kind in KINDS:
        if seconds := [each.recovery_s for each in found if each.strike.kind == kind]:
            known = [inf if each is None else each for each in seconds]
            held_up = f"{statistics.median(known):.0f} s, at most {max(known):.0f} s" if any(known) else "not held up"
            yield f"{len(seconds)} x", kind.words, held_up

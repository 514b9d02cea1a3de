"""How the disturbed run came forward, strike by strike, beside the same run undisturbed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.report import Outcome
from tests.chaos.timeline import Timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LIGHT, _DARK, _FAULT = "#f2a27f", "#1f3a5f", "#b3261e"


def draw(path: Path, disturbed: Timeline, whole: Timeline, found: Sequence[Outcome], title: str) -> Path:
    """Draws steps over minutes into a PNG, with the strikes, numbered, and what each was below; returns its path.

    It is read as wide as a telephone.

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

    legend_inches = 0.19 * (len(found) + 1)
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
        above.text(begins, top * 1.02, str(each.strike.number), color=_FAULT, ha="center", va="bottom", fontsize=9)
    above.set(xlabel="minutes", ylabel="steps", xlim=(0, None), ylim=(0, top * 1.09))
    above.set_title(title, fontsize=10, loc="left")
    above.legend(frameon=False, loc="lower right", fontsize=10)
    above.spines[["top", "right"]].set_visible(False)
    below.axis("off")
    for place, each in enumerate(found):
        _line(below, 1 - (place + 0.5) / len(found), each)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return path


def _line(axes: "Axes", height: float, each: Outcome) -> None:
    words = each.strike.kind.words + (f", {each.strike.lasts_s} s" if each.strike.lasts_s else "")
    for x, text, color, ha in (
        (0.05, str(each.strike.number), _FAULT, "right"),
        (0.08, words, "black", "left"),
        (1.0, each.recovery, "black", "right"),
    ):
        axes.text(x, height, text, color=color, ha=ha, va="center", fontsize=9)

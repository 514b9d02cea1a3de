"""What `scenerec watch` says: lines for people, with one that moves on a terminal, or lines of JSON."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from time import perf_counter

import numpy as np

from scenerec.inference.watch.changes import Change
from scenerec.inference.watch.timing import Summary, Timing
from scenerec.inference.watch.watcher import Answer

_EVERY_S = 0.2  # the moving line is written


class WatchLines:
    """A line for each change of the scene; on a terminal below them one that shows the present.

    Args:
        labels: names of the classes; where there are none they are numbered.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels
        self._is_terminal = sys.stdout.isatty()
        self._shown_at = 0.0

    def show(self, answer: Answer, timing: Timing) -> None:
        """Shows the change that an answer makes, and on a terminal what holds."""
        if answer.change:
            self._say(_change_line(answer.change, self._labels))
        now = perf_counter()
        if self._is_terminal and now - self._shown_at > _EVERY_S:
            self._shown_at = now
            seen = f"{answer.frame.time_s:8.1f} s  {scene_text(answer, self._labels)}"
            text = f"{seen}  ({speed(timing.summary())})"[: shutil.get_terminal_size().columns - 1]
            print(f"\r\033[K{text}", end="", flush=True)

    def end(self, summary: Summary) -> None:
        """Shows how the run went."""
        self._say(f"{summary.frames} frames in {summary.seconds:.1f} s: {speed(summary)}")

    def _say(self, line: str) -> None:
        """Shows a line that stays."""
        print(f"\r\033[K{line}" if self._is_terminal else line, flush=True)


class JsonLines:
    """A JSON object a line: `scene` for each change, `summary` at the end, `answer` for each frame if wanted.

    Args:
        labels: names of the classes; where there are none they are numbered.
        top_k: classes to name in an answer.
        answers: whether answers are written.
    """

    def __init__(self, labels: Sequence[str], top_k: int, answers: bool) -> None:
        self._labels, self._top_k, self._answers = labels, top_k, answers

    def show(self, answer: Answer, timing: Timing) -> None:
        """Writes the line of an answer, and that of the change that it makes."""
        frame = {"frame": answer.frame.number, "time_s": round(answer.frame.time_s, 3)}
        if self._answers:
            best = np.argsort(-answer.smoothed, kind="stable")[: self._top_k]
            predictions = [
                {"label": label(self._labels, int(index)), "probability": float(answer.smoothed[index])}
                for index in best
            ]
            scene = _name(self._labels, answer.scene)
            latency_ms = round(answer.latency_s * 1e3, 3)
            further = {} if answer.abstained is None else {"abstained": answer.abstained}
            self._write("answer", frame, further, predictions=predictions, scene=scene, latency_ms=latency_ms)
        if change := answer.change:
            scene, previous = (_name(self._labels, index) for index in (change.scene, change.previous))
            self._write("scene", frame, scene=scene, previous=previous, probability=change.probability)

    def end(self, summary: Summary) -> None:
        """Writes how the run went."""
        self._write("summary", {key: round(value, 3) for key, value in asdict(summary).items()})

    def _write(self, event: str, *parts: Mapping[str, object], **further: object) -> None:
        content: dict[str, object] = {"event": event}
        for part in (*parts, further):
            content |= part
        print(json.dumps(content), flush=True)


def label(labels: Sequence[str], index: int) -> str:
    """Returns the name of a class; its number where a network knows no names."""
    return labels[index] if labels else f"class {index}"


def scene_text(answer: Answer, labels: Sequence[str]) -> str:
    """Says which scene holds: `beach 93.1%`; where none does, in brackets the most probable class.

    A network that is not sure enough of the frame itself says so.
    """
    index = int(np.argmax(answer.smoothed)) if answer.scene is None else answer.scene
    text = f"{label(labels, index)} {answer.smoothed[index]:.1%}"
    text = f"({text})" if answer.scene is None else text
    return f"{text}, not sure enough" if answer.abstained else text


def speed(summary: Summary) -> str:
    """Says how quickly frames are answered: `25.0 frames/s, 3 skipped, frame to answer p50 8.1 ms, p99 9.4 ms`."""
    return (
        f"{summary.frames_per_s:.1f} frames/s, {summary.skipped} skipped, "
        f"frame to answer p50 {summary.p50_ms:.1f} ms, p99 {summary.p99_ms:.1f} ms"
    )


def _name(labels: Sequence[str], index: int | None) -> str | None:
    return None if index is None else label(labels, index)


def _change_line(change: Change, labels: Sequence[str]) -> str:
    before = f"  (before: {label(labels, change.previous)})" if change.previous is not None else ""
    now = "no scene is sure" if change.scene is None else f"{label(labels, change.scene)} {change.probability:.1%}"
    return f"{change.time_s:8.1f} s  {now}{before}"

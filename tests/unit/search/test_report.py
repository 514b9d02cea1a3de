"""The report holds what it should, loads nothing, and takes any search in any state."""

import random
import re
from typing import Any

import pytest
import yaml

from scenerec.config import space
from scenerec.config.train import TrainConfig
from scenerec.config.tune import TuneConfig
from scenerec.search.report import render, write_report
from scenerec.search.trial import Trial
from scenerec.search.trial_store import SearchFolder
from tests.html_page import Page
from tests.tiny_search import MakeSearch, invented

HOSTILE = "</pre><script>alert(1)</script>\"'<b>&"


def some_trials(config: TuneConfig, count: int, **fields: Any) -> list[Trial]:
    rng = random.Random(1)
    states = ["finished", "stopped", "stopped", "failed", "running", "refused"]
    trials = []
    for number in range(count):
        point = space.random_point(config.search, config.base_values, rng)
        state = states[number % len(states)]
        top1 = [] if state == "refused" else [rng.random() * epoch / 9 for epoch in range(1, 2 + number % 9)]
        reason = "out of memory" if state in ("failed", "refused") else None
        static = {"latency_ms": 10 * rng.random() + 1, "parameters": 1e7, "gflops": rng.random()}
        trials.append(invented(number, *top1, state=state, point=point, reason=reason, static=static, **fields))
    return trials


def test_it_tells_the_whole_story(make_search: MakeSearch) -> None:
    config = make_search()
    trials = some_trials(config, 12, time_s=60.0)
    page = Page(render(config, trials))
    for expected in ("rooms", "still running", "10 of 12 trials have ended", "What mattered", "out of memory", "12m"):
        assert expected in page.text, expected
    assert {"svg", "circle", "pre", "table"} <= {tag for tag, _ in page.tags}
    rows = [attrs["data-trial"] for tag, attrs in page.tags if tag == "tr" and "data-trial" in attrs]
    assert sorted(map(int, rows if all(rows) else [])) == list(range(12))
    (job,) = page.within("pre")
    best = TrainConfig.model_validate(yaml.safe_load(job))
    assert best.name == "rooms-best" and best.output == config.output


def test_it_loads_nothing(make_search: MakeSearch) -> None:
    config = make_search(objective=["val_top1", "latency_ms"])
    html = render(config, some_trials(config, 20))
    assert not re.search(r"https?:|url\(|@import|<link|<img|src=", html)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
@pytest.mark.parametrize("objective", ["val_top1", "val_loss", ["val_top1", "latency_ms", "gflops"]])
def test_it_takes_a_search_that_has_hardly_begun(make_search: MakeSearch, count: int, objective: Any) -> None:
    config = make_search(objective=objective)
    page = Page(render(config, some_trials(config, count)))
    assert "How it was made" in page.text
    assert ("No trial has begun yet" in page.text) == (count == 0)


@pytest.mark.parametrize("state", ["running", "failed", "refused"])
def test_it_takes_trials_without_any_value(make_search: MakeSearch, state: str) -> None:
    trials = [invented(number, state=state, point={}, epochs=0) for number in range(3)]
    page = Page(render(make_search(), trials))
    assert "no trial has a value yet" in page.text and "No epoch has ended yet" in page.text
    assert not page.within("pre")


def test_it_takes_values_that_are_no_numbers(make_search: MakeSearch) -> None:
    config = make_search(objective=["val_loss", "val_top1"])
    trials = [invented(0, None, point={}), invented(1, 0.5, None, point={}), invented(2, 0.5, point={})]
    page = Page(render(config, trials))
    assert "nan" not in page.text.lower()


def test_several_objectives_have_a_front(make_search: MakeSearch) -> None:
    config = make_search(objective=["val_top1", "latency_ms", "parameters"])
    page = Page(render(config, some_trials(config, 30)))
    assert "Top-1 against latency" in page.text and "Top-1 against parameters" in page.text
    assert "Pareto front" in page.text


@pytest.mark.parametrize("budget", [{"by": "resolution"}, {"by": "data"}])
def test_levels_are_told(make_search: MakeSearch, budget: Any) -> None:
    config = make_search(budget=budget)
    page = Page(render(config, some_trials(config, 8, level=2)))
    assert "level 2" in page.text and "newest level" in page.text


def test_strings_of_others_stay_strings(make_search: MakeSearch) -> None:
    base: dict[str, Any] = {
        "framework": "torch",
        "data": {"train": f"/data/{HOSTILE}", "val": "/data/val", "image_size": 64},
        "model": {"arch": "resnet18"},
        "optimize": {"epochs": 9, "global_batch_size": 16, "lr": 0.05},
    }
    config = make_search(base=base, search={"model.weights": ["none", f"/weights/{HOSTILE}.pth"]}, trials=2)
    weights = config.search["model.weights"].values or ()
    trials = [invented(0, 0.5, point={"model.weights": weights[1]}, run=HOSTILE)]
    trials += [invented(1, state="failed", reason=HOSTILE, point={"model.weights": weights[0]})]
    html = render(config, trials)
    assert "alert(1)</script>" not in html and html.count("<script") == 1 and "<b>&" not in html
    page = Page(html)
    assert HOSTILE in page.text
    assert HOSTILE in yaml.safe_load("".join(page.within("pre")))["model"]["weights"]


def test_a_large_search_stays_light(make_search: MakeSearch) -> None:
    config = make_search(trials=1000)
    html = render(config, some_trials(config, 1000))
    assert len(html) < 600_000
    page = Page(html)
    assert "300 of 1000 trials are drawn" in page.text and "And 750 that came to less" in page.text


def test_it_is_written_into_the_searchs_folder(make_search: MakeSearch) -> None:
    config = make_search()
    folder = SearchFolder(config.run_url)
    write_report(folder, config, some_trials(config, 3))
    assert folder.storage.get("report.html").startswith(b"<!doctype html>")

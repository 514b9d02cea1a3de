from math import inf

import pytest

from scenerec.search.progress import SearchNews, TrialNews, format_news, format_value, parse_news

TRIAL = TrialNews(3, "failed", 1, 9, "val_top1", 0.25, 0.5, "resnet18, lr 0.1", "the loss is nan: lower optimize.lr")
SEARCH = SearchNews(2, 12, 1, 0, 0.5, "val_top1", 3.0, 27.0, inf)


@pytest.mark.parametrize("news", [TRIAL, SEARCH])
def test_a_line_is_read_back(news: TrialNews | SearchNews) -> None:
    assert parse_news(format_news(news)) == news


@pytest.mark.parametrize("line", ["[trial] {", "[trial] {}", '[search] {"ended": 1}', "[trial]", "[epoch] epoch=1/2"])
def test_other_and_broken_lines_are_no_news(line: str) -> None:
    assert parse_news(line) is None


@pytest.mark.parametrize(
    ("objective", "value", "shown"),
    [
        ("val_top1", 0.84213, "84.21%"),
        ("val_loss", 1.23456, "1.235"),
        ("parameters", 11_689_512, "11.7M"),
        ("latency_ms", 3.456, "3.46 ms"),
        ("val_loss", float("nan"), "-"),
        ("val_top1", None, "-"),
    ],
)
def test_values_are_shown_by_their_kind(objective: str, value: float | None, shown: str) -> None:
    assert format_value(objective, value) == shown

"""The folder of a search, here a local one."""

import pytest

from scenerec.config.space import describe_point
from scenerec.errors import CheckpointError, ConfigError
from scenerec.search.trial_store import SearchFolder
from tests.tiny_search import MakeSearch, invented


def test_trials_come_back_as_they_were_in_order(make_search: MakeSearch) -> None:
    config = make_search()
    folder = SearchFolder(config.run_url)
    assert folder.trials() == []
    trials = [
        invented(11, 0.25, 1 / 3, point={"optimize.lr": 0.1 + 0.2, "data.augment.crop_scale": [0.08, 1.0]}),
        invented(2, state="failed", reason="out of memory", static={"latency_ms": 1.5}),
    ]
    for trial in trials:
        folder.write(trial)
    folder.storage.put("trials/0002/config.yaml", b"kind: train")
    folder.storage.put("trials/0002.level-1/checkpoints/step-1/trial.json", b"of somebody else")
    assert folder.trials() == trials[::-1]
    again = trials[0].model_copy(update={"state": "stopped"})
    folder.write(again)
    assert folder.trials() == [trials[1], again]
    assert "lr 0.3" in describe_point(again.point)


def test_a_trial_that_is_none_is_named(make_search: MakeSearch) -> None:
    folder = SearchFolder(make_search().run_url)
    folder.storage.put("trials/0003/trial.json", b'{"number": 3, "colour": "red"}')
    message = r"trials/0003/trial\.json: is no trial of this version of scenerec: point: is missing$"
    with pytest.raises(CheckpointError, match=message):
        folder.trials()


def test_a_config_comes_back_and_a_folder_without_one_is_no_search(make_search: MakeSearch) -> None:
    config = make_search(objective=["val_top1", "latency_ms"], scheduler="hyperband", max_hours=1)
    folder = SearchFolder(config.run_url)
    with pytest.raises(CheckpointError, match=r"has no config\.yaml, so it is no search's folder"):
        folder.read_config()
    folder.write_config(config)
    assert folder.read_config() == config
    folder.storage.put("config.yaml", b"kind: train\nname: x\n")
    with pytest.raises(ConfigError, match="kind: is train"):
        folder.read_config()


def test_the_trials_of_another_search_are_not_mixed_in(make_search: MakeSearch) -> None:
    config = make_search()
    folder = SearchFolder(config.run_url)
    folder.check_same_search(config)
    folder.write_config(config)
    folder.check_same_search(make_search(trials=50, max_hours=2, retrain={}, concurrent_trials=3))
    for other, difference in (
        (make_search(seed=1), r"seed: 0, now 1"),
        (make_search(search={"optimize.lr": [0.1, 0.2]}), r"search\.optimize\.lr\.choice: None, now \[0\.1, 0\.2\]"),
        (make_search(scheduler="median"), r"scheduler\.kind: 'asha', now 'median'"),
    ):
        with pytest.raises(CheckpointError, match=difference):
            folder.check_same_search(other)


def test_a_failure_is_of_its_session(make_search: MakeSearch) -> None:
    folder = SearchFolder(make_search().run_url)
    assert folder.read_failure(4, "now") is None
    folder.write_failure(4, "now", "the loss is not finite")
    assert folder.read_failure(4, "now") == "the loss is not finite"
    assert folder.read_failure(4, "later") is None and folder.read_failure(5, "now") is None


def test_a_result_ends_a_search_and_clear_forgets_all(make_search: MakeSearch) -> None:
    folder = SearchFolder(make_search().run_url)
    assert folder.read_result() is None
    folder.write_result({"best": {"trial": 3}})
    folder.write(invented(0, 0.5))
    assert folder.read_result() == {"best": {"trial": 3}}
    folder.clear()
    assert folder.read_result() is None and list(folder.storage.list()) == []


def test_a_config_in_another_encoding_is_named(make_search: MakeSearch) -> None:
    folder = SearchFolder(make_search().run_url)
    folder.storage.put("config.yaml", b"kind: \xe9")
    with pytest.raises(ConfigError, match=r"/config\.yaml: cannot be read: not a text file in UTF-8"):
        folder.read_config()

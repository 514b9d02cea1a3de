"""A run's folder: its config read back, and what must not change between its checkpoints."""

from pathlib import Path
from typing import Any

import pytest

from scenerec.checkpoint import best_checkpoint
from scenerec.errors import CheckpointError, ConfigError, StorageError
from scenerec.training.run_folder import RunFolder, check_identity, run_identity


def identity(make_config: Any, **blocks: Any) -> dict[str, Any]:
    return run_identity(make_config(**blocks), lanes=12, classes=4, fingerprint="f")


def test_a_run_goes_on_with_another_layer_decay_but_not_with_another_freeze(make_config: Any) -> None:
    stored = identity(make_config, model={"freeze": ["conv1", "bn1"]})
    check_identity("runs/x", stored, identity(make_config, model={"freeze": ["bn1", "conv1"]}))
    check_identity(
        "runs/x", stored, identity(make_config, model={"freeze": ["conv1", "bn1"]}, optimize={"layer_decay": 0.5})
    )
    with pytest.raises(CheckpointError, match=r"another model\.freeze \(\['bn1', 'conv1'\], now 'none'\)"):
        check_identity("runs/x", stored, identity(make_config))


def test_a_checkpoint_from_before_there_was_freezing_goes_on_unfrozen(make_config: Any) -> None:
    stored = identity(make_config)
    del stored["model.freeze"], stored["task"]
    check_identity("runs/x", stored, identity(make_config))
    with pytest.raises(CheckpointError, match=r"another model\.freeze \('none', now 'backbone'\)"):
        check_identity("runs/x", stored, identity(make_config, model={"freeze": "backbone"}))


def test_a_run_that_began_with_other_draws_of_the_augmentation_is_refused(make_config: Any) -> None:
    stored = identity(make_config)
    assert stored["augmentation version"] == 3
    del stored["augmentation version"]  # as checkpoints of version 1 are
    with pytest.raises(CheckpointError, match=r"another augmentation version \(1, now 3\): give the run another name"):
        check_identity("runs/x", stored, identity(make_config))


def test_a_run_that_drops_by_earlier_draws_is_refused(make_config: Any) -> None:
    drops = identity(make_config, model={"arch": "mobilenet_v3_small"})
    stored = {**drops}
    del stored["dropout version"]  # as in checkpoints from before there was one
    with pytest.raises(CheckpointError, match=r"another dropout version \(1, now 2\): give the run another name"):
        check_identity("runs/x", stored, drops)
    keeps = identity(make_config, model={"arch": "resnet18"})
    del keeps["dropout version"]
    check_identity("runs/x", keeps, identity(make_config, model={"arch": "resnet18"}))


def test_a_run_does_not_go_on_with_other_repeats(make_config: Any) -> None:
    stored = identity(make_config)
    del stored["data.repeats"]  # as in checkpoints from before there were any
    check_identity("runs/x", stored, identity(make_config))
    with pytest.raises(CheckpointError, match=r"another data\.repeats \(1, now 3\)"):
        check_identity("runs/x", stored, identity(make_config, data={"repeats": 3}))


def test_a_run_does_not_go_on_with_another_balance(make_config: Any) -> None:
    stored = identity(make_config)
    del stored["data.balance"]  # as in checkpoints from before there was one
    check_identity("runs/x", stored, identity(make_config))
    with pytest.raises(CheckpointError, match=r"another data\.balance \(0\.0, now 0\.5\)"):
        check_identity("runs/x", stored, identity(make_config, data={"balance": 0.5}))


def test_a_run_does_not_go_on_with_other_class_weights(make_config: Any) -> None:
    stored = identity(make_config, optimize={"class_weights": {"beach": 2, "alley": 3}})
    check_identity("runs/x", stored, identity(make_config, optimize={"class_weights": {"alley": 3, "beach": 2}}))
    with pytest.raises(CheckpointError, match=r"another optimize\.class_weights \(\{'beach': 2\.0, .*, now 'none'\)"):
        check_identity("runs/x", stored, identity(make_config))
    del stored["optimize.class_weights"]  # as in checkpoints from before there were any
    check_identity("runs/x", stored, identity(make_config))


def test_a_run_does_not_go_on_with_other_weights_of_its_sets(make_config: Any) -> None:
    def of_weights(*weights: float) -> dict[str, Any]:
        sets = [{"set": f"/sets/{number}", "weight": weight} for number, weight in enumerate(weights)]
        return identity(make_config, data={"train": sets})

    check_identity("runs/x", of_weights(1, 2), of_weights(1, 2))
    with pytest.raises(CheckpointError, match=r"another data\.train weights \(\[1\.0, 2\.0\], now \[1\.0, 3\.0\]\)"):
        check_identity("runs/x", of_weights(1, 2), of_weights(1, 3))


def test_a_run_does_not_go_on_with_another_task(make_config: Any) -> None:
    with pytest.raises(CheckpointError, match=r"another task \('ranking', now 'classification'\)"):
        check_identity("runs/x", identity(make_config) | {"task": "ranking"}, identity(make_config))


def test_the_config_comes_back_with_overrides(make_config: Any) -> None:
    config = make_config(model={"freeze": ["conv1"]})
    folder = RunFolder(config.run_url)
    folder.write_config(config)
    assert folder.read_config() == config
    assert folder.read_config(["framework=tensorflow"]).framework == "tensorflow"
    folder.storage.put("config.yaml", b"kind: 3")
    with pytest.raises(ConfigError, match=r"test/config\.yaml:1: kind"):
        folder.read_config()


def test_a_folder_without_a_config_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no config\.yaml, so it is no run's folder"):
        RunFolder(str(tmp_path)).read_config()


def test_a_config_in_another_encoding_is_named(make_config: Any) -> None:
    folder = RunFolder(make_config().run_url)
    folder.storage.put("config.yaml", b"kind: \xe9")
    with pytest.raises(ConfigError, match=r"/config\.yaml: cannot be read: not a text file in UTF-8"):
        folder.read_config()


def test_what_is_damaged_of_a_run_is_named(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path / "run"))
    assert folder.read_result() is None
    assert folder.read_history() == []
    folder.storage.put("result.json", b'{"epochs": ')
    with pytest.raises(StorageError, match=r"run/result\.json: is damaged: it holds no JSON object"):
        folder.read_result()
    for line in (b"{", b"[]", b"\xff", b'{"epoch": "first"}'):
        folder.storage.put("metrics.jsonl", line + b"\n")
        with pytest.raises(CheckpointError, match=r"run/metrics\.jsonl: is damaged: ") as raised:
            folder.read_history()
        assert len(str(raised.value).splitlines()) == 1
    folder.checkpoints.put("best.json", b"{}")
    with pytest.raises(StorageError, match=r"checkpoints/best\.json: is damaged: it lacks checkpoint"):
        best_checkpoint(folder.checkpoints)

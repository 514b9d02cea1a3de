"""What weights began as: it is followed from run to run, and a licence goes along."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from scenerec.errors import ModelError
from scenerec.models.weights.files import write_weights
from scenerec.models.weights.licences import (
    ACCEPTING_VARIABLE,
    LICENCES,
    accept_licences,
    check_accepted,
    describe_licence,
    forbids_commercial_use,
)
from scenerec.models.weights.origin import RANDOM, Origin, find_origin, is_address, origin_of
from scenerec.models.weights.published import all_published
from scenerec.models.zoo import TIMM

SWAG = Origin("IMAGENET1K_SWAG_LINEAR_V1 of vit_b_16", "CC-BY-NC-4.0")


def write_run(folder: Path, **state: object) -> str:
    checkpoint = folder / "checkpoints" / "step-000000007"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.json").write_text(json.dumps(state))
    return str(folder)


def test_every_licence_of_torchvisions_weights_is_known_and_swags_forbids_commercial_use() -> None:
    assert {each.licence for each in all_published()} >= set(LICENCES)
    for each in all_published():
        if not each.arch.startswith(TIMM):
            assert each.licence in LICENCES and forbids_commercial_use(each.licence) == ("SWAG" in each.name)
    assert forbids_commercial_use(next(each.licence for each in all_published() if "convnextv2" in each.arch))
    assert describe_licence("CC-BY-NC-4.0") == "CC-BY-NC-4.0: NOT FOR COMMERCIAL USE"


@pytest.mark.parametrize(
    ("weights", "origin"),
    [
        ("none", Origin(RANDOM)),
        ("IMAGENET1K_SWAG_LINEAR_V1", SWAG),
        ("https://download.pytorch.org/models/vit_b_16_lc_swag-4e70ced5.pth#sha256=4e70ced5", SWAG),
        ("/copies/vit_b_16_lc_swag-4e70ced5.pth", SWAG),
        (
            "https://huggingface.co/timm/vit_small_patch16_dinov3.lvd1689m/resolve/main/model.safetensors",
            Origin("lvd1689m of timm/vit_small_patch16_dinov3", "DINOv3"),
        ),
        ("https://example.org/own.pth", Origin("https://example.org/own.pth")),
    ],
)
def test_names_and_files_of_published_weights_are_known(weights: str, origin: Origin) -> None:
    assert find_origin(weights, "vit_b_16") == origin


def test_a_run_tells_what_it_began_with_and_an_older_one_by_its_config(tmp_path: Path) -> None:
    """The third run began with the second, which is older than the field, and that with published weights."""
    first = write_run(tmp_path / "first", origin={"weights": SWAG.weights, "licence": SWAG.licence})
    second = write_run(tmp_path / "second", config={"model": {"arch": "vit_b_16", "weights": SWAG.weights.split()[0]}})
    third = write_run(tmp_path / "third", config={"model": {"arch": "vit_b_16", "weights": second}})
    for run in (first, second, third, f"{third}/checkpoints/step-000000007"):
        assert find_origin(run, "vit_b_16") == SWAG
    assert origin_of({"config": {"model": {"arch": "vit_b_16", "weights": third}}}) == SWAG


def test_a_converted_file_tells_it_wherever_it_goes(tmp_path: Path) -> None:
    """Published weights to safetensors, to a checkpoint's form, and on."""
    state = {"fc.weight": np.zeros((2, 3), np.float32)}
    for place, kind in (("converted.safetensors", "safetensors"), ("folder", "checkpoint")):
        url = str(tmp_path / place)
        write_weights(url, kind, state, "vit_b_16", classes=2, image_size=224, origin=SWAG)
        assert find_origin(url, "vit_b_16") == SWAG
    own, broken = str(tmp_path / "own.safetensors"), str(tmp_path / "broken.safetensors")
    write_weights(own, "safetensors", state, "vit_b_16", classes=2, image_size=224)
    (tmp_path / "broken.safetensors").write_bytes(b"no safetensors at all")
    assert [find_origin(each, "vit_b_16") for each in (own, broken)] == [Origin(own), Origin(broken)]


def test_a_run_that_is_gone_is_all_that_is_known(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    run = write_run(tmp_path / "run", config={"model": {"arch": "resnet18", "weights": gone}})
    assert find_origin(run, "resnet18") == Origin(gone)
    assert str(Origin(gone)) == f"not known (of {gone})"


def test_a_teachers_licence_goes_along_with_its_own_teachers(tmp_path: Path) -> None:
    """From a teacher to its student, to the run that begins with that, and through the header of a file."""
    taught = Origin(RANDOM).taught_by(Origin("/own.pth", "", {"old of net": "MIT"})).taught_by(SWAG)
    assert taught.teachers == {"/own.pth": "", "old of net": "MIT", SWAG.weights: SWAG.licence}
    assert taught.licences == ("MIT", "CC-BY-NC-4.0")
    assert str(taught) == (
        "no licence: the first weights are random; not known (of its teacher /own.pth); "
        f"CC-BY-NC-4.0: NOT FOR COMMERCIAL USE (of its teacher {SWAG.weights}); MIT (of its teacher old of net)"
    )
    assert Origin(RANDOM).taught_by(Origin(RANDOM)) == Origin(RANDOM)
    student = write_run(tmp_path / "student", origin=asdict(taught))
    assert find_origin(student, "vit_b_16") == taught
    write_weights(f"{tmp_path}/w.safetensors", "safetensors", {}, "vit_b_16", 2, 224, taught)
    assert find_origin(f"{tmp_path}/w.safetensors", "vit_b_16") == taught


def test_addresses_are_told_from_names() -> None:
    assert not any(map(is_address, (RANDOM, SWAG.weights)))
    assert all(map(is_address, ("/own.pth", "/home/best of 2020/w.pth", "https://example.org/w.pth")))


def test_a_licence_is_accepted_where_its_owner_asks_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ACCEPTING_VARIABLE, raising=False)
    for name in ("", "MIT", "CC-BY-NC-4.0", "nobody's"):
        check_accepted(name, False, "model.weights: w")
    check_accepted("DINOv3", True, "model.weights: w")
    with pytest.raises(
        ModelError, match=r"^model\.weights: w: their owner asks .* DINOv3 \(https.*--accept-licence"
    ) as error:
        check_accepted("DINOv3", False, "model.weights: w")
    assert "\n" not in str(error.value)
    monkeypatch.setenv(ACCEPTING_VARIABLE, "MIT, DINOv3")
    check_accepted("DINOv3", False, "model.weights: w")
    monkeypatch.setenv(ACCEPTING_VARIABLE, "")
    accept_licences()
    check_accepted("DINOv3", False, "model.weights: w")


def test_runs_that_name_each_other_end(tmp_path: Path) -> None:
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    for run, other in ((a, b), (b, a)):
        write_run(Path(run), config={"model": {"arch": "resnet18", "weights": other}})
    assert find_origin(a, "resnet18").licence == ""

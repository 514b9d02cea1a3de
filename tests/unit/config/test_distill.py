"""The block `optimize.distill`."""

from pathlib import Path

import pytest

from scenerec.config.file import load_config
from tests.job_file import problems, write_job


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_job(tmp_path)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("{weight: 0.5}", "optimize.distill.teacher: is missing"),
        ("{teacher: none}", "optimize.distill.teacher: is none: leave optimize.distill out, or name a run"),
        ("{teacher: /t, weight: 0}", "optimize.distill.weight: must be above 0, not 0"),
        ("{teacher: /t, weight: 1.5}", "optimize.distill.weight: must be at most 1, not 1.5"),
        ("{teacher: /t, temperature: 0}", "optimize.distill.temperature: must be above 0, not 0"),
        ("{teacher: /t, temperatur: 2}", "optimize.distill.temperatur: unknown key; did you mean `temperature`?"),
        (
            "{teacher: IMAGENET1K_V1}",
            "optimize.distill.arch: name the architecture of the published weights IMAGENET1K",
        ),
        ("{teacher: IMAGENET1K_V9, arch: resnet50}", "optimize.distill.teacher: nothing was published for resnet50 as"),
        ("{teacher: /t, arch: resnet51}", "optimize.distill.arch: unknown architecture 'resnet51': did you mean"),
        ("{teacher: /t, arch: vit_b_16, image_size: 64}", "optimize.distill.image_size: vit_b_16 takes images of 224"),
    ],
)
def test_what_is_wrong_with_a_distillation_is_one_problem(file: Path, written: str, problem: str) -> None:
    (found,) = problems(file, f"optimize.distill={written}")
    assert problem in found


def test_class_weights_need_labels(file: Path) -> None:
    distill = "optimize.distill={teacher: /t, weight: %s}"
    (found,) = problems(file, distill % 1, "optimize.class_weights=balanced")
    assert "optimize.class_weights: go by labels, and with distill.weight 1 none is read" in found
    load_config(file, [distill % 0.9, "optimize.class_weights=balanced"])


def test_a_teacher_is_found_from_wherever_the_job_runs(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET", "scenes")
    for written, read in (
        ("s3://$BUCKET/runs/big/", "s3://scenes/runs/big"),
        ("s3://$BUCKET/registry/big@production", "s3://scenes/registry/big@production"),
        ("https://a.org/w.pth#sha256=0123abcd", "https://a.org/w.pth#sha256=0123abcd"),
        ("runs/big", f"{Path.cwd()}/runs/big"),
    ):
        config = load_config(file, [f"optimize.distill.teacher={written}"])
        assert config.optimize.distill is not None and config.optimize.distill.teacher == read
        assert config.optimize.reads_labels

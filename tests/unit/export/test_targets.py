"""The table of targets."""

import pytest

from scenerec.errors import ConfigError
from scenerec.export.targets import ANY, TARGETS, find_target


def test_every_target_of_the_command_is_there() -> None:
    assert set(TARGETS) == {"any", "cpu-x86", "cpu-arm", "cuda", "tensorrt", "npu", "edge"}
    assert find_target("any") is ANY


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_target_says_why_in_a_sentence(name: str) -> None:
    target = TARGETS[name]
    assert target.name == name
    assert target.why.endswith(".")
    assert 30 < len(target.why) < 140


def test_settings_fit_together() -> None:
    for target in TARGETS.values():
        if target.precision.startswith("tflite"):
            assert not target.providers, "TFLite runs without onnxruntime"
        else:
            assert target.providers[-1] == "CPUExecutionProvider", "what is not taken falls back"
        if "QNNExecutionProvider" in target.providers:
            assert target.batch == 1, "which takes fixed shapes only"
        if target.offline:
            assert "CPUExecutionProvider" in target.providers
            assert target.precision == "fp32"


def test_an_unknown_target_is_refused_with_the_list() -> None:
    with pytest.raises(ConfigError, match=r"--target tpu: there are any, cpu-x86, .*--list-targets"):
        find_target("tpu")


def test_int8_is_timed_where_the_machine_stands_for_the_target() -> None:
    x86, arm = find_target("cpu-x86").machines, find_target("cpu-arm").machines
    assert "x86_64" in x86 and "aarch64" in arm and not set(x86) & set(arm)
    assert set(ANY.machines) == {*x86, *arm}
    assert not any(target.machines for target in TARGETS.values() if target.name not in ("any", "cpu-x86", "cpu-arm"))

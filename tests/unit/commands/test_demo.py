import subprocess

import pytest

from scenerec.commands.demo import Steps


def test_steps_say_how_long_they_took(capsys: pytest.CaptureFixture[str]) -> None:
    steps = Steps()
    assert '"uniform"' in steps.output("schema", "--kind", "tune")
    with pytest.raises(subprocess.CalledProcessError) as failed:
        steps.run("validate", "/nowhere/train.yaml")
    assert failed.value.returncode == 2
    steps.show()
    *_, heading, first, second, total = capsys.readouterr().out.splitlines()
    assert heading == "SECONDS  STEP"
    seconds, steps_told = zip(*(line.split(maxsplit=1) for line in (first, second, total)), strict=True)
    assert steps_told == ("schema tune", "validate", "in all")
    assert float(seconds[2]) == pytest.approx(float(seconds[0]) + float(seconds[1]), abs=0.11)
    assert float(seconds[0]) > 0

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from scenerec.cli import app
from scenerec.inference.watch.video import video_frames
from tests.drawn_video import BGR, draw_video
from tests.measured import validation
from tests.patience import PATIENCE_S
from tests.tiny_bundle import make_tiny_bundle

RED_THEN_BLUE = [("red", 25), ("blue", 25)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny").folder


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_video(tmp_path_factory.mktemp("film") / "film.mp4", RED_THEN_BLUE)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(20):
        colour = (250, 10, 10) if number < 10 else (10, 10, 250)
        Image.new("RGB", (33, 21), colour).save(folder / f"{number:02}.jpg")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["watch", *map(str, arguments)])


def events(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_each_change_of_a_folders_scene_is_told_once(bundle: Path, pictures: Path) -> None:
    result = run(bundle, "--frames", pictures, "--fps", 10, "--dwell", 0.2, "--smooth", 0.1, "--json")
    assert result.exit_code == 0, result.output
    first, second, summary = events(result)
    assert (first["scene"], first["previous"], first["time_s"]) == ("red", None, 0.2)
    assert (second["event"], second["scene"], second["previous"]) == ("scene", "blue", "red")
    assert 1.0 < second["time_s"] < 1.6
    assert (summary["event"], summary["frames"], summary["skipped"]) == ("summary", 20, 0)


def test_a_line_for_each_answer(bundle: Path, pictures: Path) -> None:
    found = events(run(bundle, "--frames", pictures, "--json", "--answers", "-k", 2))
    answers = [each for each in found if each["event"] == "answer"]
    assert [answer["frame"] for answer in answers] == list(range(20))
    assert answers[0]["predictions"][0]["label"] == "red"
    assert {len(answer["predictions"]) for answer in answers} == {2}
    assert all(answer["latency_ms"] > 0 for answer in answers)


def test_an_answer_says_whether_the_model_is_sure_enough(bundle: Path, pictures: Path, tmp_path: Path) -> None:
    unsure = make_tiny_bundle(tmp_path / "unsure", validation=validation(abstain_below=1.01)).folder
    for folder, told in ((bundle, {None}), (unsure, {True})):
        found = events(run(folder, "--frames", pictures, "--json", "--answers"))
        assert {each.get("abstained") for each in found if each["event"] == "answer"} == told


def test_an_image_that_cannot_be_decoded_is_named_and_the_others_go_on(bundle: Path, pictures: Path) -> None:
    (pictures / "05.jpg").write_text("not an image")
    result = run(bundle, "--frames", pictures)
    assert result.exit_code == 4
    assert result.stderr == f"error: {pictures}/05.jpg: not a JPEG, PNG, WebP, GIF or BMP image\n"
    assert "19 frames in " in result.stdout


def test_every_frame_of_a_video(bundle: Path, film: Path) -> None:
    result = run(bundle, "--video", film, "--every-frame", "--dwell", 0.2)
    assert result.exit_code == 0, result.output
    red, blue, end = result.stdout.splitlines()
    assert red == "     0.2 s  red 100.0%"
    assert blue.endswith("(before: red)")
    assert end.startswith("50 frames in ")
    assert "0 skipped, frame to answer p50 " in end


@pytest.mark.slow
def test_a_video_plays_as_quickly_as_it_was_taken(bundle: Path, film: Path) -> None:
    result = run(bundle, "--video", film, "--json", "--dwell", 0.2)
    *scenes, summary = events(result)
    assert [each["scene"] for each in scenes] == ["red", "blue"]
    assert summary["frames"] + summary["skipped"] == 50
    assert summary["seconds"] >= 1.9, "50 frames take two seconds"


def test_an_overlay_is_a_video_that_lasts_as_long(bundle: Path, film: Path, tmp_path: Path) -> None:
    result = run(bundle, "--video", film, "--every-frame", "--overlay", tmp_path / "out.mp4")
    assert result.exit_code == 0, result.output
    frames = list(video_frames("", tmp_path / "out.mp4", 1, False, print))
    assert len(frames) == 1 + 49 * 30 // 25
    written = frames[10].pixels[:14].astype(int)
    assert written.min(axis=2).max() > 180, "white letters"
    np.testing.assert_allclose(frames[10].pixels[30:].mean((0, 1)), BGR["red"], atol=8)
    np.testing.assert_allclose(frames[-1].pixels[30:].mean((0, 1)), BGR["blue"], atol=8)


def test_a_network_is_told_where_the_camera_is(bundle: Path, pictures: Path, tmp_path: Path) -> None:
    located = make_tiny_bundle(tmp_path / "located", scale=0.001, coordinates=True).folder
    here = ["--latitude", "80", "--longitude", "10"]
    scenes = [each["scene"] for each in events(run(located, "--frames", pictures, *here, "--json"))[:-1]]
    assert scenes == ["green"], "latitude speaks for it, whatever is seen"
    refused = run(bundle, "--frames", pictures, *here)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "does not read where a picture was taken" in refused.stderr


WRONG = {
    "nothing": ([], 2, "nothing to watch: give one of --camera, --video, --frames, --stream"),
    "two": (["--camera", "0", "--stream", "rtsp://a/"], 2, "--camera --stream: give one of"),
    "every live frame": (["--camera", "0", "--every-frame"], 2, "--every-frame: is for a --video"),
    "thresholds": (["--camera", "0", "--enter", "0.3"], 2, "--leave: must be at most --enter, 0.3, not 0.4"),
    "answers": (["--camera", "0", "--answers"], 2, "--answers: are lines of JSON: add --json"),
    "camera": (["--camera", "77"], 4, "--camera 77: there is no /dev/video77"),
    "video": (["--video", "gone.mp4"], 4, "--video gone.mp4: there is no such file"),
    "folder": (["--frames", "gone"], 4, "gone: cannot be read: No such file"),
    "overlay": (["--camera", "0", "--overlay", "a.gif"], 2, "--overlay a.gif: must be window, or a file that ends in"),
    "no display": (["--frames", ".", "--overlay", "window"], 2, "--overlay window: no display name"),
    "password in a query": (
        ["--stream", "ftp://door/live?user=me&Password=secret&channel=2"],
        2,
        "--stream ftp://door/live?user=me&Password=...&channel=2: must begin with rtsp://",
    ),
    "password": (["--stream", "ftp://me:secret@door/live"], 2, "--stream ftp://door/live: must begin with rtsp://"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(bundle: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    arguments, exit_code, message = WRONG[case]
    result = run(bundle, *arguments)
    assert result.exit_code == exit_code, result.output
    assert f"error: {message}" in result.stderr.replace(f"{Path.cwd()}/", "")


@pytest.mark.parametrize("password", ["hush/secret", "hush#secret", "hush?secret", "hush/se/cret"])
def test_a_password_that_splits_its_address_is_not_shown(bundle: Path, password: str) -> None:
    result = run(bundle, "--stream", f"rtsp://me:{password}@door/live")
    assert result.exit_code == 2
    assert "error: --stream rtsp://door/live: is no address: write rtsp://" in result.stderr
    assert "hush" not in result.stderr and "cret" not in result.stderr


def test_the_frames_are_looked_for_before_the_model() -> None:
    assert "there is no /dev/video77" in run("bundles/gone", "--camera", "77").stderr
    assert run("bundles/gone", "--frames", Path(__file__).parent).exit_code == 8


def test_interrupted_it_ends_with_its_summary(bundle: Path, tmp_path: Path) -> None:
    """By SIGTERM, which is taken as Ctrl-C is."""
    film = draw_video(tmp_path / "long.avi", [("red", 25 * 60)], (16, 16), "MJPG")
    command = [sys.executable, "-m", "scenerec", "watch", str(bundle), "--video", str(film), "--json", "--dwell", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        watchdog = threading.Timer(PATIENCE_S, process.kill)
        watchdog.start()
        assert json.loads(process.stdout.readline())["scene"] == "red"
        process.terminate()
        summary = json.loads(process.stdout.read())
        assert process.stderr.read() == ""
        watchdog.cancel()
    assert (process.returncode, summary["event"]) == (0, "summary")
    assert 0 < summary["frames"] < 25 * 60

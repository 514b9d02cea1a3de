import multiprocessing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.state import ClusterState, Service, cluster_home, load_state, locked, save_state
from scenerec.cli import app
from scenerec.errors import ClusterError
from tests.unprivileged import unprivileged


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    assert load_state(tmp_path) is None
    state = ClusterState().with_service("store", Service(pid=1, ports={"s3": 8333}))
    save_state(tmp_path, state)
    assert load_state(tmp_path) == state
    assert (tmp_path / "cluster.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["cluster.json"]


def test_credentials_are_new_each_time_and_not_shown() -> None:
    first, second = ClusterState(), ClusterState()
    assert len({first.token, second.token, first.secret_key, second.secret_key, first.id, second.id}) == 6
    assert first.token not in repr(first)
    assert first.secret_key not in repr(first)


def test_services_come_and_go() -> None:
    state = ClusterState().with_service("ray", Service(pid=1, ports={})).with_service("store", Service(pid=2, ports={}))
    assert set(state.without_service("ray").services) == {"store"}
    assert set(state.services) == {"ray", "store"}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"id": "a", "more": 1}'])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "cluster.json").write_text(content)
    with pytest.raises(ClusterError, match=r"cluster\.json: cannot be used: .*remove the file"):
        load_state(tmp_path)


def test_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("SCENEREC_HOME", raising=False)
    assert cluster_home() == Path("/home/me/.scenerec")
    monkeypatch.setenv("SCENEREC_HOME", "~/elsewhere")
    assert cluster_home() == Path("/home/me/elsewhere")
    assert cluster_home(tmp_path) == tmp_path


def test_who_has_no_home_is_told_so_where_one_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user has a number and no name."""

    def nobody(_: int) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", nobody)
    for name in ("HOME", "SCENEREC_HOME", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    shown = CliRunner().invoke(app, ["cluster", "up"])
    assert (shown.exit_code, shown.stderr) == (7, "error: you have no home folder: set HOME or SCENEREC_HOME\n")
    assert CliRunner().invoke(app, ["list"]).exit_code == 7
    assert CliRunner().invoke(app, ["data", "show", "nowhere"]).exit_code == 4


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ClusterError, match="cannot be written"), locked(tmp_path / "file" / "home"):
        pass


def count_up(home: Path, times: int) -> None:
    for _ in range(times):
        with locked(home):
            counter = home / "counter"
            counter.write_text(str(int(counter.read_text()) + 1))


def test_two_at_once_wait_for_each_other(tmp_path: Path) -> None:
    (tmp_path / "counter").write_text("0")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=count_up, args=(tmp_path, 50)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert (tmp_path / "counter").read_text() == "200"


def test_another_users_home_is_as_good_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As HOME is after `sudo -u`; what needs no cluster goes on, and `cluster up` says what is wrong."""
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o700)
    (theirs / "cluster.json").write_text(ClusterState().model_dump_json())
    monkeypatch.setenv("SCENEREC_HOME", str(theirs))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "mine").mkdir()
    with unprivileged(tmp_path / "mine"):
        assert CliRunner().invoke(app, ["data", "show", str(tmp_path / "mine")]).exit_code == 4
        shown = CliRunner().invoke(app, ["cluster", "up"])
    assert (shown.exit_code, shown.stderr.count("\n")) == (7, 1)
    assert f"{theirs}: cannot be written (Permission denied): set SCENEREC_HOME to another folder" in shown.stderr

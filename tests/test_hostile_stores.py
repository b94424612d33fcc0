"""A store is a file that others send: whatever it says, nothing outside its own folder is touched."""

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from commands import noisybench
from stores import content, put
from test_store import CONFIG

from noisybench.errors import StoreError
from noisybench.store import Estimate, Store
from noisybench.store.merge import merge
from noisybench.store.run_bundle import RunBundle

RUN = CONFIG.identity[:12]
OUTSIDE = ("..", "../victim", "abcdef/../../victim", "{victim}", ".", "", "victim\n", f"{RUN}/../../victim")


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A folder of the user's, which each test must leave as it was."""
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    yield folder
    assert [file.read_text() for file in folder.iterdir()] == ["years of work"]


@pytest.fixture
def store(tmp_path: Path, victim: Path) -> Store:
    store = Store.open(tmp_path / "sent.db")
    put(store, estimate=Estimate(RUN, [[1.0]]))
    return store


def rewrite(store: Store, sql: str, *values: str | None) -> Path:
    """Change the file as its sender may, and return its path."""
    store.conn.close()
    connection = sqlite3.connect(store.path)
    with connection:
        connection.execute(sql, values)
    connection.close()
    return store.path


@pytest.mark.parametrize("value", OUTSIDE)
@pytest.mark.parametrize(
    "column", ["runs.id", "runs.identity", "epochs.run", "transitions.run", "transitions.estimated_by"]
)
def test_ids_and_identities_of_another_form_are_refused_by_every_command(
    tmp_path: Path, store: Store, victim: Path, column: str, value: str
) -> None:
    table, name = column.split(".")
    value = value.format(victim=victim)
    # Two epochs of one run have one key: the last takes it.
    path = rewrite(store, f"UPDATE OR REPLACE {table} SET {name} = ?", value)
    into = tmp_path / "mine.db"
    put(Store.open(into), replace(CONFIG, seed=9))
    before = content(into)
    for command in (
        ("runs", "merge", path, "--into", into),
        ("runs", "delete", "--yes", value, "--db", path),
        ("runs", "list", "--db", path),
        ("evaluate", RUN, "--db", path),
        ("train", "--epochs", "1", "--db", path),
    ):
        result = noisybench(*command)
        assert result.exit_code == 2 and "sent.db" in result.stderr, command
        assert "Traceback" not in result.output and "\x1b" not in result.stderr
    assert content(into) == before


@pytest.mark.parametrize("value", ["..", "../victim", f"{RUN}/../../victim", "*", "%"])
def test_no_other_name_reaches_a_folder(store: Store, victim: Path, value: str) -> None:
    with pytest.raises(StoreError):
        store.folder(value)
    result = noisybench("runs", "delete", "--yes", value, "--db", store.path)
    assert result.exit_code == 2 and len(store.runs()) == 1


@pytest.mark.parametrize("link", ["sent.db-runs", f"sent.db-runs/{RUN}"])
def test_a_folder_that_is_a_symbolic_link_is_not_followed(
    tmp_path: Path, store: Store, victim: Path, link: str
) -> None:
    place = tmp_path / link
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(victim, target_is_directory=True)
    for command in (
        ("runs", "delete", "--yes", RUN, "--db", store.path),
        ("runs", "merge", store.path, "--into", tmp_path / "mine.db"),
        ("evaluate", RUN, "--db", store.path),
    ):
        result = noisybench(*command)
        assert result.exit_code == 2 and "symbolic link" in result.stderr, command
    assert len(store.runs()) == 1, "nothing is half-deleted"
    sender = Store.open(tmp_path / "other.db")
    put(sender, replace(CONFIG, seed=9))
    with pytest.raises(StoreError, match="symbolic link"):
        if place.parent == tmp_path:
            merge([sender.path], store.path)
        else:
            RunBundle.of(store, RUN)


@pytest.mark.parametrize("name", ["best.pt", "notes"])
def test_a_file_that_is_a_symbolic_link_is_not_copied(
    tmp_path: Path, store: Store, victim: Path, name: str
) -> None:
    """Else a store that is passed on would hold what its sender cannot read."""
    file = store.folder(RUN) / name
    file.unlink(missing_ok=True)
    file.symlink_to(victim / "thesis.txt")
    with pytest.raises(StoreError, match="plain file"):
        merge([store.path], tmp_path / "mine.db")
    with pytest.raises(StoreError, match="plain file"):
        RunBundle.of(store, RUN)
    assert not list(tmp_path.glob("mine.db-runs/*/*"))


def test_what_is_written_does_not_follow_a_link_that_lies_in_wait(store: Store, victim: Path) -> None:
    from noisybench.training.checkpoints import save

    for name in ("best.pt", ".best.pt.part", f".best.pt.{os.getpid()}.part"):
        file = store.folder(RUN) / name
        file.unlink(missing_ok=True)
        file.symlink_to(victim / "thesis.txt")
    save({}, store.folder(RUN) / "best.pt")
    assert not (store.folder(RUN) / "best.pt").is_symlink()


def test_folders_that_look_like_those_of_a_merge_do_no_harm(
    tmp_path: Path, store: Store, victim: Path
) -> None:
    into = Store.open(tmp_path / "mine.db")
    into.networks.mkdir()
    for name in (f".merge-{os.getpid()}", ".merge-abc", ".merge-", ".merge-99999999999999999999"):
        (into.networks / name).symlink_to(victim, target_is_directory=True)
    assert merge([store.path], into.path).added == [RUN]


@pytest.mark.parametrize("name", ["../victim/thesis.txt", "..", "/tmp/x", "", "a/b", ".best.pt.part", "x\n"])
def test_files_of_a_bundle_stay_in_its_folder(tmp_path: Path, store: Store, victim: Path, name: str) -> None:
    sent = RunBundle.of(store, RUN)
    with pytest.raises(StoreError, match="file"):
        replace(sent, files={name: b"attack"}).unpack(tmp_path / "sent.db-runs" / RUN)


@pytest.mark.parametrize("host", ["../victim/thesis", "/tmp/x", "..", ""])
@pytest.mark.parametrize("run", ["../victim", RUN])
def test_a_bundle_names_no_other_place(
    tmp_path: Path, store: Store, victim: Path, host: str, run: str
) -> None:
    sent = RunBundle.of(store, RUN)
    (tmp_path / "here").mkdir()
    rows = {**sent.rows, "runs": [{**sent.rows["runs"][0], "host": host, "id": run}]}
    try:
        path = replace(sent, rows=rows).unpack(tmp_path / "here")
    except StoreError:
        assert run != RUN
    else:
        assert path.parent == tmp_path / "here" and run == RUN


def test_rows_of_a_bundle_are_those_of_its_run(tmp_path: Path, store: Store) -> None:
    sent = RunBundle.of(store, RUN)
    epoch = sent.rows["epochs"][0]
    for rows in (
        {"epochs": [{**epoch, "run": "0123456789ab"}]},
        {"epochs": [{**epoch, "run) VALUES (1); --": 1}]},
        {"sqlite_master": [{"run": RUN}]},
        {"runs": []},
    ):
        with pytest.raises(StoreError):
            replace(sent, rows={**sent.rows, **rows}).unpack(tmp_path)


@pytest.mark.parametrize("attempt", ["0", "-3", "../x", None, "1000000000000"])
@pytest.mark.parametrize("version", [1, 2])
def test_an_attempt_of_another_form_is_refused(
    tmp_path: Path, store: Store, attempt: str | None, version: int
) -> None:
    path = rewrite(store, "UPDATE runs SET attempt = ?", attempt)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    for command in (
        ("runs", "merge", path, "--into", tmp_path / "mine.db"),
        ("runs", "delete", "--yes", RUN, "--db", path),
    ):
        result = noisybench(*command)
        assert result.exit_code == 2 and "runs" in result.stderr, command

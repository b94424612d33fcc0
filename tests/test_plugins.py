"""Definitions of third parties: in files of the user, and in installed packages."""

import importlib.metadata
import json
import pickle
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import as_json, noisybench, succeed

from noisybench.config import Config
from noisybench.errors import DataError, InvalidValue, UnknownName
from noisybench.registry import METHODS, MODELS, Registry

LOSS = '''
def half(logits, target, *, weight: float = 0.5):
    """Half of cross entropy, or another part of it."""
    return -weight * logits.log_softmax(dim=1).gather(1, target[:, None]).squeeze(1)
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "own_loss.py"
    path.write_text(LOSS)
    return path


def test_a_loss_in_a_file_is_trained_and_reported(file: Path, database: Path) -> None:
    run = as_json("train", "--loss", f"{file}:half(weight=0.25)", "--epochs", 2, "--quiet")
    (row,) = as_json("runs", "list")
    assert (row["id"], row["loss"]) == (run["run"], "own_loss.py:half(weight=0.25)")
    assert row["code"].startswith("own_loss.py:")
    assert "own_loss.py:half(weight=0.25)" in succeed("report")


def test_the_content_of_the_file_is_part_of_the_identity_and_its_folder_is_not(
    file: Path, tmp_path: Path
) -> None:
    def identity(path: Path) -> str:
        return Config.from_user(loss=f"{path}:half").identity

    first = identity(file)
    (tmp_path / "elsewhere").mkdir()
    copy = tmp_path / "elsewhere" / file.name
    copy.write_text(LOSS)
    assert identity(copy) == first
    copy.write_text(LOSS + "\n# another content\n")
    assert identity(copy) != first


def test_a_config_travels_with_the_file_that_it_needs(file: Path) -> None:
    config = Config.from_user(loss=f"{file}:half")
    sent = file.with_suffix(".pickle")
    sent.write_bytes(pickle.dumps(config))
    file.unlink()
    code = (
        "import pickle, sys; config = pickle.load(open(sys.argv[1], 'rb'));"
        " print(config.identity, config.method.bound.arguments['weight'])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(sent)], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == [config.identity, "0.5"]


def test_what_a_store_says_executes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trap.py").write_text("raise SystemExit('executed')")
    monkeypatch.chdir(tmp_path)
    row = {**Config.create().row(), "loss": "trap.py:loss"}
    with pytest.raises(UnknownName):
        Config.from_row(row).bound("loss")


@pytest.mark.parametrize(
    "report", [("--against", "paper"), (), ("--compare", "lq", "cce"), ("--format", "html")]
)
def test_reports_of_a_store_execute_no_file(
    report: tuple[str, ...], database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    as_json("train", "--loss", "lq", "--epochs", 1, "--train-size", 200, "--quiet")
    Path("trap.py").write_text("open('executed', 'w').close()")
    for column in ("loss", "model", "noise"):
        with sqlite3.connect(database) as connection:
            connection.execute(f"UPDATE runs SET {column} = ?", [f"trap.py:{column}"])
        connection.close()
        result = noisybench("report", *report)
        assert not Path("executed").exists()
        assert result.exit_code in (0, 2), (column, result.output, result.exception)


def test_what_a_labels_file_says_executes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    succeed("corrupt", "--dataset", "digits", "--out", "labels.npz")
    Path("trap.py").write_text("open('executed', 'w').close()")
    with np.load("labels.npz") as file:
        arrays = dict(file)
    said = json.loads(str(arrays.pop("metadata"))) | {"noise": "trap.py:noise"}
    np.savez("labels.npz", metadata=np.array(json.dumps(said)), **arrays)
    result = noisybench("train", "--labels", "labels.npz", "--epochs", 1)
    assert result.exit_code == 2 and not Path("executed").exists()


@pytest.mark.parametrize(
    "content, part",
    [
        ("def other(): pass", "half"),
        ("1 / 0", "ZeroDivisionError"),
        ("half = 3", "function"),
        ("def (", "Syntax"),
    ],
)
def test_a_file_that_defines_no_loss_is_answered_in_words(file: Path, content: str, part: str) -> None:
    file.write_text(content)
    result = noisybench("train", "--loss", f"{file}:half")
    assert result.exit_code == 2 and part in result.stderr and len(result.stderr.splitlines()) == 1


def test_a_file_that_is_missing_is_answered_in_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none.py"):
        Config.from_user(loss=f"{tmp_path}/none.py:half")


def test_a_hyper_parameter_in_a_file_cannot_have_the_name_of_a_setting(file: Path) -> None:
    file.write_text(LOSS.replace("weight", "momentum"))
    with pytest.raises(InvalidValue, match="momentum"):
        Config.from_user(loss=f"{file}:half")


def test_an_installed_package_adds_a_loss(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(file.parent)
    point = importlib.metadata.EntryPoint("half", "own_loss:half", "noisybench.methods")
    monkeypatch.setattr("noisybench.registry.entry_points", lambda group: [point])
    fresh = Registry("loss", METHODS.module, METHODS.metadata, METHODS.group)
    assert str(fresh.bind("half")) == "half(weight=0.5)"


def test_a_package_that_cannot_be_imported_is_told_only_where_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    point = importlib.metadata.EntryPoint("absent", "no_such_package_of_ours:loss", "noisybench.methods")
    monkeypatch.setattr("noisybench.registry.entry_points", lambda group: [point])
    fresh = Registry("loss", METHODS.module, METHODS.metadata, METHODS.group)
    assert [entry.name for entry in fresh] == []
    with pytest.raises(DataError, match="no_such_package_of_ours"):
        fresh.bind("absent")


def test_an_installed_package_adds_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "shapes_package.py").write_text(
        "from noisybench.registry import DATASETS\n"
        "@DATASETS.register('shapes', classes=('disc', 'square'), flips={}, shape=(8, 8, 1),\n"
        "    counts=(10, 4), fingerprint='', protocol={'model': 'mlp'})\n"
        "def shapes(source, *, classes, shape):\n"
        "    '''Discs and squares.'''\n"
        "def bare(source):\n"
        "    '''Nothing is known of it.'''\n"
    )
    (tmp_path / "shapes-1.0.dist-info").mkdir()
    (tmp_path / "shapes-1.0.dist-info" / "METADATA").write_text("Name: shapes\nVersion: 1.0\n")
    (tmp_path / "shapes-1.0.dist-info" / "entry_points.txt").write_text(
        "[noisybench.datasets]\nshapes = shapes_package:shapes\nbare = shapes_package:bare\n"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from noisybench.registry import DATASETS\n"
        "print(DATASETS['shapes'].metadata.classes, DATASETS['shapes'].origin.name)\n"
        "try: DATASETS['bare']\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "('disc', 'square') shapes 1.0" in said
    assert "DataError" in said and "classes" in said


MODEL = '''
def own(shape, n_classes):
    """A linear model."""
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], n_classes))
'''


@pytest.mark.parametrize("command", ["evaluate", "prune"])
def test_the_network_of_a_file_is_used_where_the_user_names_the_file(
    command: str, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own_loss.py").write_text(LOSS)
    Path("own_model.py").write_text(MODEL)
    named = ("--loss", "own_loss.py:half", "--model", "own_model.py:own")
    run = as_json("train", *named, "--epochs", 1, "--train-size", 400, "--quiet")
    for registry in (METHODS, MODELS):
        monkeypatch.setattr(
            registry, "_entries", {k: e for k, e in registry._entries.items() if ".py:" not in k}
        )
    Path("own_loss.py").write_text("open('executed', 'w').close()\n" + LOSS)
    arguments = (command, run["run"], *(("--out", "mask.npz") if command == "prune" else ()))
    refused = noisybench(*arguments)
    assert refused.exit_code == 2 and "--code" in refused.stderr
    refused = noisybench(*arguments, "--code", "own_loss.py", "--code", "own_model.py")
    assert refused.exit_code == 2 and "another content" in refused.stderr
    assert noisybench(*arguments, "--code", "test.py").exit_code == 2
    assert not Path("executed").exists()
    Path("own_loss.py").write_text(LOSS)
    measured = as_json(*arguments, "--code", "own_loss.py", "--code", "own_model.py")
    assert command == "prune" or measured["accuracy"] == run["test_accuracy"]

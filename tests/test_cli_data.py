"""`noisybench data`: what it prints and how it refuses."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import as_json, noisybench, succeed
from PIL import Image
from typer.testing import CliRunner

from noisybench.cli import data
from noisybench.errors import DataError, InvalidValue, UnknownName
from noisybench.registry import DATASETS


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NOISYBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path / "home"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in DATASETS["cifar10"].metadata.classes:
            folder = tmp_path / "tree" / part / name
            folder.mkdir(parents=True)
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / "0.png")
    return tmp_path / "tree"


def output_of(*arguments: str) -> str:
    result = CliRunner().invoke(data.app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_a_partial_set_is_added_listed_and_verified_as_not_canonical(tree: Path) -> None:
    added = output_of("add", "cifar10", "--from", str(tree))
    assert "10 training and 10 test images" in added and "not the canonical 50,000 and 10,000" in added
    verified = json.loads(output_of("verify", "cifar10", "--json"))
    assert verified["canonical"] is False and verified["identity"] in added
    assert verified["canonical_fingerprint"] == DATASETS["cifar10"].metadata.fingerprint
    assert verified["fingerprint"] in output_of("verify", "cifar10")
    row = next(line for line in output_of("list").splitlines() if line.startswith("cifar10  "))
    assert row.split()[1:] == ["not", "canonical", "10", "10", "32×32×3", "10", "0.1"]
    assert f"cifar10 came from {tree}" in output_of("list").splitlines()


def test_taking_the_place_of_a_canonical_set_is_said(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def add() -> str:
        return CliRunner().invoke(data.app, ["add", "cifar10", "--from", str(tree)]).stderr

    assert "replaces" not in add()
    content = json.loads(output_of("verify", "cifar10", "--json"))["fingerprint"]
    entry = DATASETS["cifar10"]
    canonical = replace(entry, metadata=replace(entry.metadata, fingerprint=content))
    monkeypatch.setitem(DATASETS._entries, "cifar10", canonical)
    assert "replaces" not in add()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tree / "train" / "cat" / "1.png")
    assert "replaces the canonical cifar10" in add()


def test_canonical_digits_are_verified_and_listed() -> None:
    assert "at first use" in output_of("list")
    assert "digits is intact, canonical" in output_of("verify", "digits")
    rows = {row["name"]: row for row in json.loads(output_of("list", "--json"))}
    assert set(rows) == {"digits", "fashion-mnist", "cifar10", "cifar100"}
    assert rows["digits"]["canonical"] and rows["digits"]["source"] == "scikit-learn"
    assert not rows["cifar10"]["prepared"] and len(rows["cifar100"]["classes"]) == 100


def test_damage_is_an_error_to_verify_and_shown_in_the_list(home: Path) -> None:
    output_of("verify", "digits")
    labels = home / "datasets" / "digits" / "test_labels.npy"
    labels.write_bytes(labels.read_bytes()[:-8] + bytes(8))
    with pytest.raises(DataError, match="digits .* is damaged"):
        output_of("verify", "digits")
    (home / "datasets" / "digits" / "meta.json").write_text("{")
    result = CliRunner().invoke(data.app, ["list"])
    assert "damaged" in result.stdout and "meta.json cannot be read" in result.stderr


def test_a_wrong_name_or_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'cifar100'"):
        output_of("add", "cifar1000")
    with pytest.raises(DataError, match="nowhere does not exist"):
        output_of("add", "cifar10", "--from", str(tmp_path / "nowhere"))


@pytest.mark.parametrize("command", ["add", "list", "verify"])
def test_every_option_has_help(command: str) -> None:
    text = output_of(command, "--help")
    assert "--json" in text or "torchvision's root" in text


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Two classes of small images, eight of each, flat."""
    rng = np.random.default_rng(0)
    for number in range(16):
        folder = tmp_path / "own" / ("dark", "light")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 100, (8, 8), np.uint8) + 150 * (number % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "own"


@pytest.mark.usefixtures("database")
def test_own_images_are_added_trained_reported_and_removed(own: Path) -> None:
    added = output_of("add", "mine", "--from", str(own))
    assert "2 classes, 12 training images, and 4 test images of 8×8×1" in added
    assert "own images" in output_of("list")
    row = next(row for row in json.loads(output_of("list", "--json")) if row["name"] == "mine")
    assert row["own"] and row["identity"] in added
    assert row["identity"] in output_of("verify", "mine")
    run = as_json("train", "--dataset", "mine", "--epochs", 2, "--batch-size", 4, "--quiet")
    stored = as_json("runs", "show", run["run"])
    assert row["identity"] in json.dumps(stored)
    assert as_json("evaluate", run["run"])
    silent = noisybench("train", "--dataset", "mine", "--noise", "class-dependent", "--epochs", 1)
    assert silent.exit_code == 2 and "--rate" in silent.stderr
    assert "is removed" in output_of("remove", "mine", "--yes")
    assert row["identity"] in succeed("report")
    assert succeed("runs", "list", "--json")


def test_options_for_own_images_are_refused_for_built_in_sets(tree: Path) -> None:
    with pytest.raises(InvalidValue, match="omit --image-size"):
        output_of("add", "cifar10", "--from", str(tree), "--image-size", "16")

"""`noisybench corrupt`."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import as_json, noisybench, succeed
from typer.testing import CliRunner, Result

from noisybench import datasets
from noisybench.cli import app
from noisybench.cli.corrupt import show
from noisybench.config import Config
from noisybench.inputs import corrupt as draw_labels
from noisybench.labels.drawing import intolerable, transition_matrix
from noisybench.labels.manifest import Manifest


def corrupt(path: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["corrupt", "--out", str(path), *options])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labels.npz"


def test_the_file_holds_the_labels_that_a_run_would_draw(path: Path) -> None:
    result = corrupt(path, "--dataset", "digits", "--noise", "uniform", "--rate", "0.4", "--seed", "3")
    assert result.exit_code == 0 and result.stderr == ""
    digits = datasets.load("digits")
    drawn = draw_labels(Config.create(rate=0.4, seed=3), digits)
    manifest = Manifest.read(path)
    manifest.fit(digits)
    assert np.array_equal(manifest.noisy, drawn.given)
    assert np.array_equal(manifest.transition, drawn.transition)
    assert np.array_equal(manifest.index, digits.train_index)


def test_json(path: Path) -> None:
    options = "--json --noise class-dependent --map 3>5 --rate 0.3 --draws exact --seed 1"
    result = corrupt(path, *options.split())
    assert result.exit_code == 0
    said: dict[str, Any] = json.loads(result.stdout)
    manifest = Manifest.read(path)
    assert said["path"] == str(path)
    assert said["dataset"] == "digits"
    assert said["noise"] == "class-dependent(map='3>5')"
    assert (said["rate"], said["seed"], said["draws"], said["n"]) == (0.3, 1, "exact", 1297)
    assert said["realised_rate"] == (manifest.noisy != manifest.clean).mean()
    assert said["transition_matrix"][3] == [0, 0, 0, 0.7, 0, 0.3, 0, 0, 0, 0]
    threes = manifest.clean == 3
    flipped = (manifest.noisy[threes] == 5).mean()
    assert said["realised_transition_matrix"][3][5] == pytest.approx(flipped)
    assert said["sha256"] == manifest.sha256


def test_the_table_shows_the_realised_matrix_in_80_columns(path: Path) -> None:
    command = [sys.executable, "-c", "from noisybench.cli import main; main()", "corrupt", "--out", str(path)]
    environment = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    manifest = Manifest.read(path)
    assert f"Realised rate {manifest.realised_rate:.4f}" in done.stdout
    assert manifest.sha256 in done.stdout and "…" not in done.stdout
    table = done.stdout.partition("Realised transition matrix")[2]
    assert max(map(len, table.splitlines())) <= 80
    for number in range(10):
        (row,) = re.findall(rf"^  {number}  +(.*)$", table, re.MULTILINE)
        of_class = manifest.noisy[manifest.clean == number]
        assert [float(cell) for cell in row.split()] == [
            pytest.approx(100 * (of_class == j).mean(), abs=0.051) for j in range(10)
        ]


def shown(capsys: pytest.CaptureFixture[str], classes: tuple[str, ...], noisy: np.ndarray) -> str:
    clean = np.arange(len(noisy)) % len(classes)
    manifest = Manifest(
        dataset="[red]x[/red]",
        fingerprint="",
        classes=classes,
        noise="uniform",
        rate=0.1,
        draws="independent",
        seed=0,
        transition=transition_matrix("uniform", 0.1, classes, {}),
        clean=clean,
        noisy=noisy,
        index=clean,
    )
    show(manifest, Path("labels.npz"))
    return capsys.readouterr().out


def test_names_are_shown_as_they_are_and_full_rows_are_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    classes = ("T-shirt/top", "[bold]", "a name that is much too long for the table", *"abcdefg")
    text = shown(capsys, classes, np.arange(40) % 10)
    assert "[red]x[/red]" in text and "0 T-shirt/top" in text and "1 [bold]" in text
    assert len(re.findall(r" 100 ", text)) == 10
    table = text.partition("Realised transition matrix")[2]
    assert max(map(len, table.splitlines())) <= 80


def test_many_classes_show_their_most_frequent_flips(capsys: pytest.CaptureFixture[str]) -> None:
    classes = tuple(f"class {i}" for i in range(100))
    noisy = np.arange(1000) % 100
    noisy[[7, 107, 207]] = 8
    noisy[9] = 3
    text = shown(capsys, classes, noisy)
    assert "most frequent of 2 kinds of flips" in text
    assert re.search(r"class 7 +class 8 +30\.0.*\n +class 9 +class 3 +10\.0 *\n", text)
    assert len(text.splitlines()) < 25


def test_intolerable_noise_warns_on_stderr(path: Path) -> None:
    result = corrupt(path, "--rate", "0.9", "--json")
    assert result.exit_code == 0 and path.exists()
    warning = intolerable(transition_matrix("uniform", 0.9, "0123456789", {}))
    assert result.stderr.strip() == f"Warning: {warning}"
    assert json.loads(result.stdout)["rate"] == 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rate", "1"), "rate is '1', but must be a number, at least 0 and below 1"),
        (("--noise", "unifrom"), "Did you mean 'uniform'?"),
        (("--map", "3>5"), "nothing chosen here has it. It belongs to: noise class-dependent."),
        (("--noise", "class-dependent", "--map", "3>ten"), "No class is called 'ten'"),
        (("--noise", "class-dependent", "--map", "no.yaml"), "neither pairs such as"),
        (("--dataset", "digit"), "Did you mean 'digits'?"),
    ],
)
def test_wrong_input_is_one_message_and_no_file(path: Path, options: tuple[str, ...], message: str) -> None:
    result = corrupt(path, *options)
    assert result.exit_code == 2 and result.stdout == ""
    assert message in result.stderr and len(result.stderr.splitlines()) == 1
    assert not path.exists()


def test_a_missing_folder_is_told(path: Path) -> None:
    result = corrupt(path.parent / "missing" / "labels.npz")
    assert result.exit_code == 2
    assert "there is no folder" in result.stderr


def test_labels_of_a_file_are_drawn_again(path: Path) -> None:
    corrupt(path, "--rate", "0.3", "--seed", "2")
    manifest = Manifest.read(path)
    found = as_json("corrupt", "--verify", path)
    assert found["realised_rate"] == manifest.realised_rate and found["sha256"] == manifest.sha256
    assert found["other_labels_by_recipe"] == 0 and found["recipe"]["seed"] == 2
    result = noisybench("corrupt", "--verify", path, "--seed", "3", "--json")
    other = draw_labels(Config.create(rate=0.3, seed=3), datasets.load("digits"))
    assert result.exit_code == 1
    assert json.loads(result.stdout)["other_labels_by_recipe"] == (other.given != manifest.noisy).sum()


def test_a_file_whose_labels_its_recipe_does_not_make_is_found(path: Path) -> None:
    corrupt(path)
    made = Manifest.read(path)
    noisy = made.noisy.copy()
    noisy[:3] = (noisy[:3] + 1) % 10
    path.write_bytes(replace(made, noisy=noisy).encode())
    result = noisybench("corrupt", "--verify", path)
    assert result.exit_code == 1 and "3 of them" in result.stdout


def test_labels_of_others_are_measured_class_by_class(tmp_path: Path) -> None:
    digits = datasets.load("digits")
    order = np.argsort(digits.train_index)
    clean = digits.train_labels[order]
    given = np.where((clean == 4) & (np.arange(len(clean)) % 2 == 0), 9, clean)
    rows = zip(digits.train_index[order], clean, given, strict=True)
    file = tmp_path / "human.csv"
    file.write_text("index,clean_label,human\n" + "".join(f"{i},{c},{g}\n" for i, c, g in rows))
    matrix = tmp_path / "matrix.csv"
    text = succeed("corrupt", "--verify", f"{file}:human", "--out", matrix)
    fours, wrong = (clean == 4).sum(), (clean != given).sum()
    assert re.search(rf"^ +4 +{fours} +{wrong} +{100 * wrong / fours:.1f} ", text, re.MULTILINE)
    found = as_json("corrupt", "--verify", f"{file}:human")
    assert found["recipe"] is None and found["realised_rate"] == (clean != given).mean()
    expected = np.eye(10)
    expected[4, [4, 9]] = 1 - wrong / fours, wrong / fours
    np.testing.assert_allclose(np.loadtxt(matrix, delimiter=","), expected, atol=1e-6)
    noise = ("--noise", "matrix", "--rows", matrix)
    drawn = as_json("corrupt", *noise, "--out", tmp_path / "drawn.csv")
    np.testing.assert_allclose(drawn["transition_matrix"], expected, atol=1e-5)
    assert as_json("corrupt", "--verify", f"{drawn['path']}:given", *noise)["other_labels_by_recipe"] == 0
    assert noisybench("corrupt", "--verify", f"{file}:human", *noise).exit_code == 1


def test_verifying_needs_a_file_and_drawing_a_place(tmp_path: Path) -> None:
    for options in ((), ("--verify", tmp_path / "no.npz"), ("--label-order", tmp_path / "x.npy")):
        result = noisybench("corrupt", *options)
        assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1

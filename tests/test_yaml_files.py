"""YAML files of users: every fault is answered in one line that names the file and the line."""

from pathlib import Path
from typing import Any

import pytest
from commands import noisybench

from noisybench.errors import DataError
from noisybench.yaml_files import read_yaml

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)


def read(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    return read_yaml(path)


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("a: 1\nb: 2\na: 3", 3, "line 1"),
        ("a: 1\nb: 010", 2, "'010'"),
        ("a: 0x1f", 1, "'0x1f'"),
        ("a: 1:30", 1, "'1:30'"),
        ("a: !!bool maybe", 1, "maybe"),
        ("a: !!float x", 1, "float"),
        ("a: !!int x", 1, "integer"),
        ("a: !!timestamp x", 1, "timestamp"),
        ("a: 2026-01-01", 1, "timestamp"),
        ("a: !!python/object:os.system {}", 1, "tag"),
        (f"a: {'9' * 5000}", 1, "integer"),
        ("a: 1\n" + "b: " + "[" * 3000 + "]" * 3000, 2, "nesting"),
        (BOMB, 1, "anchors"),
        ("a: &a [*a]", 1, "itself"),
        ("? [a]\n: b", 1, "key"),
        ("a:\n\t- b", 2, "tab"),
        ("a: [", 1, "YAML"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, text: str, line: int, word: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert f"grid.yaml, line {line}: " in message and word in message and "\n" not in message


def test_an_empty_file_and_bytes_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="grid.yaml is empty"):
        read(tmp_path, "# nothing")
    (tmp_path / "grid.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="UTF-8"):
        read_yaml(tmp_path / "grid.yaml")


def test_values_are_what_people_write(tmp_path: Path) -> None:
    text = "{a: [1, -2, 0.5, 1.e+3, .inf, true, null, x], 7: '010', e: &e [a], f: *e}"
    expected = {"a": [1, -2, 0.5, 1000.0, float("inf"), True, None, "x"], 7: "010", "e": ["a"], "f": ["a"]}
    assert read(tmp_path, text) == expected


@pytest.mark.parametrize("text", ["[1, 2]", "grid: [{loss: null}]", "grid: [{loss: [lq, null]}]"])
def test_an_experiment_that_says_nothing_is_refused(tmp_path: Path, text: str, database: Path) -> None:
    (tmp_path / "grid.yaml").write_text(text)
    done = noisybench("sweep", tmp_path / "grid.yaml", "--dry-run")
    assert done.exit_code == 2 and "grid.yaml: " in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_grid_is_counted_before_it_is_built(
    tmp_path: Path, database: Path, options: tuple[str, ...]
) -> None:
    path = tmp_path / "grid.yaml"
    numbers = ", ".join(map(str, range(3000)))
    path.write_text(f"grid: [{{seed: [{numbers}], rate: [{numbers}], epochs: [{numbers}]}}]")
    done = noisybench("sweep", path, *options)
    assert done.exit_code == 2 and "27,000,000,000 runs" in done.stderr and "--max-runs" in done.stderr
    done = noisybench("sweep", "demo", "--seeds", 10**9, *options)
    assert done.exit_code == 2 and "10,000,000,000 runs" in done.stderr
    assert noisybench("sweep", "demo", "--max-runs", 29, *options).exit_code == 2


def test_ray_chooses_the_gpu(database: Path) -> None:
    done = noisybench("sweep", "demo", "--executor", "ray", "--device", "cuda:1", "--dry-run")
    assert done.exit_code == 2 and "cuda:1" in done.stderr

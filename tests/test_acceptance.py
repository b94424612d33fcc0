"""The acceptance plan for GPUs: what it measures again, what it says, and what it does without CUDA."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import acceptance, gpu
from benchmarks.acceptance import Plan, Verdict
from benchmarks.gpu_steps import CPU, FUNCTIONS, errors

# Counts how often each step was measured; "fails" fails the first time, "hangs" never ends.
SCRIPT = """
import json, pathlib, sys, time
name = sys.argv[-1]
path = pathlib.Path(sys.argv[1], f"{name}.count")
n = int(path.read_text()) + 1 if path.exists() else 1
path.write_text(str(n))
print("what torch says")
if name == "hangs":
    time.sleep(60)
if name.startswith("fails") and n == 1:
    print("CUDA error: unspecified", file=sys.stderr)
    sys.exit(3)
print(json.dumps({"times": n}))
"""


def judge(found: Mapping[str, Any]) -> list[Verdict]:
    return [Verdict("once", found["quick"]["times"] == 1 if "quick" in found else None, "")]


def carried_out(folder: Path, *steps: str, hardware: str = "a GPU") -> list[str]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    told: list[str] = []
    plan = Plan({name: f"what {name} is" for name in steps}, command, hardware, judge)
    plan.carry_out(folder / "kept", told.append)
    return told


def found(folder: Path) -> Any:
    return json.loads((folder / "kept" / "gpu.json").read_text())["found"]


def test_only_what_failed_or_was_measured_elsewhere_is_measured_again(tmp_path: Path) -> None:
    told = carried_out(tmp_path, "quick", "fails")
    assert any("code 3" in line and "CUDA error" in line for line in told)
    assert found(tmp_path) == {"quick": {"times": 1}}
    carried_out(tmp_path, "quick", "fails")
    assert found(tmp_path) == {"quick": {"times": 1}, "fails": {"times": 2}}
    assert carried_out(tmp_path, "quick", "fails") == []
    carried_out(tmp_path, "quick", hardware="another GPU")
    assert found(tmp_path) == {"quick": {"times": 2}}


def test_a_step_that_takes_too_long_is_cut_off_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptance, "LIMIT", 0.5)
    carried_out(tmp_path, "hangs", "quick")
    monkeypatch.setattr(acceptance, "LIMIT", 60)
    carried_out(tmp_path, "quick")
    assert "quick" in found(tmp_path)


def test_what_is_like_a_step_that_failed_is_left_for_the_next_time(tmp_path: Path) -> None:
    carried_out(tmp_path, "fails-0", "fails-1", "quick")
    assert set(found(tmp_path)) == {"quick"} and not (tmp_path / "fails-1.count").exists()
    carried_out(tmp_path, "fails-0", "fails-1", "quick")
    assert {path.name for path in tmp_path.glob("fails*.count")} == {"fails-0.count", "fails-1.count"}


def test_a_damaged_file_is_measured_again(tmp_path: Path) -> None:
    carried_out(tmp_path, "quick")
    (tmp_path / "kept" / "quick.json").write_text("{")
    carried_out(tmp_path, "quick")
    assert found(tmp_path)["quick"]["times"] == 2


def test_the_report_ends_with_verdicts(tmp_path: Path) -> None:
    carried_out(tmp_path, "quick")
    text = (tmp_path / "kept" / "gpu.md").read_text()
    assert "a GPU" in text and "| quick | what quick is | times 1 |" in text
    assert text.strip().endswith("| once | yes |  |")


def test_without_cuda_the_benchmark_says_so_and_measures_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.measure() == []
    assert "no CUDA" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_every_step_has_a_function() -> None:
    assert {name.partition("-")[0] for name in gpu.STEPS} == FUNCTIONS.keys()


GOOD: dict[str, Any] = {
    "batches": {"different": 0},
    "gradients": {"fp32": 1e-6, "bf16": 2e-2},
    "waits": {"waiting": []},
    "replay": {"recorded": True, "resumed": True},
    "epochs-cifar10": {
        "cifar10 captured": 1.9,
        "cifar10 captured, training alone": 1.5,
        "cifar10 compiled": 1.2,
    },
    "epochs-fashion-mnist": {"fashion-mnist captured": 0.9, "fashion-mnist compiled": 0.6},
    "captured": {"cost of deterministic": 1.04},
    "usual-16": {"defaults": 4.0, "strict float32": 6.5},
    "cell-uniform,0.4,lq,0": {"test_accuracy": 86.0, "paper": 87.13},
    "cell-uniform,0.4,lq,3": {"test_accuracy": 88.0, "paper": 87.13},
}
BAD: dict[str, Any] = {
    "batches": {"different": 1},
    "gradients": {"fp32": 1e-6, "bf16": 0.2},
    "waits": {"waiting": ["elr: called a synchronizing CUDA operation"]},
    "replay": {"recorded": True, "resumed": False},
    "epochs-cifar10": {"cifar10 captured": 9.0, "cifar10 captured, training alone": 8.0},
    "epochs-fashion-mnist": {"fashion-mnist captured": 5.0},
    "captured": {"cost of deterministic": 1.2},
    "usual-16": {"defaults": 4.0, "strict float32": 6.5},
    "cell-uniform,0.4,lq,0": {"test_accuracy": 80.0, "paper": 87.13},
}


def test_verdicts() -> None:
    assert {verdict.passed for verdict in gpu.judge({})} == {None}
    good, bad = gpu.judge(GOOD), gpu.judge(BAD)
    judged = [verdict.what for verdict in good if verdict.passed is not None]
    assert len(judged) == 12 and all(verdict.passed for verdict in good if verdict.what in judged)
    assert [verdict.what for verdict in bad if verdict.passed is False] == judged


def test_cells_are_measured_with_one_seed_each_before_the_others() -> None:
    cells = [name for name in gpu.STEPS if name.startswith("cell-")]
    assert len(cells) == len(set(cells)) == 5 * len(gpu.CELLS)
    assert [name[-1] for name in cells[:9]] == list("000011112")


def test_table_1_takes_the_epochs_of_its_runs() -> None:
    # 240 runs of 120 epochs and of 150 on CIFAR, and 240 of 120 on Fashion-MNIST.
    hours = (240 * 270 * 1.9 + 240 * 120 * 0.9) / 3600
    assert any(f"{hours:.3g} h" in verdict.found for verdict in gpu.judge(GOOD))


def test_epochs_are_compared_with_those_of_the_usual_loop() -> None:
    rows = gpu.rows(GOOD)
    assert [(row.value, row.goal is not None and row.goal.met(row.value)) for row in rows] == [
        (pytest.approx(4 / 1.5), True),
        (pytest.approx(6.5 / 1.5), True),
    ]


def test_gradients_in_float32_are_those_of_float64() -> None:
    assert 0 < errors("lq", CPU, "fp32") < 1e-5 < errors("lq", CPU, "bf16")

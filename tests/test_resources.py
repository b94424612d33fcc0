"""How many runs a machine carries out at once, where nobody says."""

import os
from pathlib import Path

import pytest
import torch
from commands import noisybench

from noisybench.store import Store
from noisybench.sweeps import resources
from noisybench.sweeps.resources import MEMORY_PER_RUN, cores, default_jobs, threads_per_job
from noisybench.training import device, memory

MACHINE = 64 * MEMORY_PER_RUN


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 16 cores and much memory, and the folder that has the files of its control groups."""
    monkeypatch.setattr(resources, "cores", lambda: 16)
    monkeypatch.setattr(os, "sysconf", lambda name: MACHINE if name == "SC_PHYS_PAGES" else 1)
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "CGROUP_MOUNT", tmp_path / "mount")
    return tmp_path


def limit(machine: Path, line: str, limits: dict[str, str]) -> int:
    """How many of many runs at once, for a process in this control group, with these files."""
    (machine / "cgroup").write_text(f"12:cpuset:/elsewhere\n{line}\n")
    for name, content in limits.items():
        file = machine / "mount" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return default_jobs(1000, ["cpu"])


def test_one_a_core_as_far_as_runs_and_memory_go(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [default_jobs(runs, ["cpu"]) for runs in (0, 1, 7, 1000)] == [1, 1, 7, 16]
    monkeypatch.setattr(os, "sysconf", lambda name: 3 * MEMORY_PER_RUN if name == "SC_PHYS_PAGES" else 1)
    assert default_jobs(1000, ["cpu"]) == 3
    assert [threads_per_job(n) for n in (1, 3, 16, 99)] == [16, 5, 1, 1]


def test_two_a_gpu_as_far_as_its_memory_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = {"cuda:0": 80, "cuda:1": 5}
    monkeypatch.setattr(device, "gpu_memory", lambda name: memory[name] * 2**30)
    assert [default_jobs(runs, ["cuda:0", "cuda:1"]) for runs in (1, 2, 1000)] == [1, 2, 3]
    assert [default_jobs(1000, [name]) for name in ("cuda:0", "cuda:1", "mps")] == [2, 1, 1]
    # A core for each run, but no GPU without one.
    monkeypatch.setattr(resources, "cores", lambda: 1)
    assert [default_jobs(1000, devices) for devices in (["cuda:0"], ["cuda:0"] * 4)] == [1, 4]


@pytest.mark.parametrize(("threads", "expected"), [(64, 16), (2, 2)])
def test_train_takes_no_more_threads_than_its_quota(
    monkeypatch: pytest.MonkeyPatch, threads: int, expected: int
) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    assert noisybench("train", "--epochs", 1, "--quiet", "--force").exit_code == 0
    assert chosen == [expected]


def test_as_far_as_the_memory_of_a_container_goes(machine: Path) -> None:
    assert limit(machine, "0::/", {"memory.max": f"{5 * MEMORY_PER_RUN + 1}\n"}) == 5
    assert limit(machine, "0::/", {"memory.max": "max\n"}) == 16
    # That of a job, and of a group that it lies in.
    assert limit(machine, "0::/slurm/job_7/step", {"slurm/job_7/memory.max": f"{2 * MEMORY_PER_RUN}\n"}) == 2
    # The older way: groups of each kind apart, and a path that a container does not see.
    old = {"memory/memory.limit_in_bytes": f"{4 * MEMORY_PER_RUN}\n"}
    assert limit(machine, "4:memory:/docker/0123\n0::/", old) == 4
    assert limit(machine, "4:memory:/docker/0123", {"memory/memory.limit_in_bytes": str(2**63)}) == 16


def test_a_limit_below_one_run_is_one_run(machine: Path) -> None:
    assert limit(machine, "0::/", {"memory.max": "1000\n"}) == 1


def test_this_machine() -> None:
    assert cores() >= 1


def test_pixels_that_do_not_fit_into_memory_are_told_before_a_run_begins(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,297 digits of 8×8, 16×16 with their border, against 200 kB, in which this network fits."""
    monkeypatch.setattr(memory, "memory", lambda: 200_000)
    small = ("train", "--epochs", 1, "--model", "mlp(hidden=32)", "--quiet")
    result = noisybench(*small, "--augment", "flip-crop")
    assert result.exit_code == 2 and "--train-size" in result.stderr and "--image-size" in result.stderr
    assert not Store.open(database).runs()
    assert noisybench(*small, "--train-size", 300).exit_code == 0

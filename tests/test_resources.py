"""How many runs a machine carries out at once, where nobody says."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from commands import noisybench

from noisybench.errors import InvalidValue
from noisybench.store import Store
from noisybench.sweeps import resources
from noisybench.sweeps.resources import MEMORY_PER_RUN, cores, default_jobs, next_device, threads_per_job
from noisybench.training import memory
from noisybench.training.device import choose_device, device_label, free_gpu_memory, gpu_occupancy, several

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


class Gpus:
    """Two GPUs as CUDA and NVML describe them: free GiB, the percentage of the time in which each computes,
    and the rest of the name."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.free, self.busy, self.suffix = [70, 5], [99, 99], ""
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "device_count", lambda: 2)
        patch.setattr(torch.cuda, "get_device_name", lambda device: self.properties(device).name)
        patch.setattr(torch.cuda, "get_device_properties", self.properties)
        patch.setattr(torch.cuda, "device_memory_used", lambda gpu: (80 - self.free[index(gpu)]) * 2**30)
        patch.setattr(torch.cuda, "mem_get_info", lambda gpu: (3 * 2**30, 80 * 2**30))
        patch.setattr(torch.cuda, "utilization", lambda gpu: self.busy[index(gpu)])
        patch.setenv("CUDA_MPS_PIPE_DIRECTORY", "/nowhere")

    def properties(self, device: object) -> SimpleNamespace:
        return SimpleNamespace(total_memory=80 * 2**30, name=f"NVIDIA H100{self.suffix}")


def index(name: object) -> int:
    return torch.device(str(name)).index or 0


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Gpus:
    return Gpus(monkeypatch)


def test_at_most_three_a_gpu_as_far_as_its_free_memory_goes(
    gpus: Gpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [default_jobs(runs, ["cuda:0", "cuda:1"]) for runs in (1, 2, 1000)] == [1, 2, 4]
    assert [default_jobs(1000, [name]) for name in ("cuda:0", "cuda:1", "mps")] == [3, 1, 1]
    # A core for each run, but no GPU without one.
    monkeypatch.setattr(resources, "cores", lambda: 1)
    assert [default_jobs(1000, devices) for devices in (["cuda:0"], ["cuda:0"] * 4)] == [1, 4]


def test_a_gpu_gets_a_further_run_once_those_on_it_are_measured_to_leave_time_and_memory(
    gpus: Gpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus.free[1], both, trains = 70, ["cuda:0", "cuda:1"], ("cuda:0", True)
    assert next_device(both, [], True) == "cuda:0" and next_device(both, [trains], True) == "cuda:1"
    assert next_device(["cuda:0"], [trains], True) is None, "never idle"
    gpus.busy[0] = 60
    assert next_device(["cuda:0"], [trains], True) == "cuda:0"
    assert next_device(["cuda:0"], [trains, ("cuda:0", False)], True) is None, "not measured yet"
    gpus.free[0] = 5
    assert next_device(["cuda:0"], [trains], True) is None, "no memory"
    assert next_device(["cuda:0"], [trains], False) == "cuda:0", "--jobs says how many"


def unknown(gpu: object) -> int:
    raise ModuleNotFoundError("pynvml does not seem to be installed or it can't be imported.")


def test_without_nvml_a_gpu_counts_as_full_and_cuda_tells_its_free_memory(
    gpus: Gpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("utilization", "device_memory_used"):
        monkeypatch.setattr(torch.cuda, name, unknown)
    assert gpu_occupancy("cuda:0") is None and free_gpu_memory("cuda:0") == 3 * 2**30
    assert next_device(["cuda:0"], [("cuda:0", True)], True) is None


def test_of_an_instance_of_a_gpu_nvml_tells_nothing(gpus: Gpus) -> None:
    gpus.suffix = " MIG 1g.10gb"
    assert gpu_occupancy("cuda:0") is None and free_gpu_memory("cuda:0") == 3 * 2**30


def test_under_the_multi_process_service_two_runs_share_a_gpu_that_is_never_idle(
    gpus: Gpus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on_first = [("cuda:0", True)]
    assert next_device(["cuda:0"], on_first, True) is None
    assert device_label(torch.device("cuda:0")) == "cuda (NVIDIA H100)"
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    (tmp_path / "control").touch()
    assert next_device(["cuda:0"], on_first, True) == "cuda:0"
    assert next_device(["cuda:0"], 2 * on_first, True) is None
    assert device_label(torch.device("cuda:0")) == "cuda (NVIDIA H100, MPS)"


def test_devices_are_those_that_cuda_shows(gpus: Gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8932f937,GPU-d72b7ce8")
    assert several("auto") == several("cuda") == ["cuda:0", "cuda:1"]
    assert several("cuda:1") == ["cuda:1"]
    with pytest.raises(InvalidValue, match="CUDA has 2, .*GPU-8932f937"):
        choose_device("cuda:2")


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

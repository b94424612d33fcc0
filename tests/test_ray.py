"""Sweeps on a Ray cluster: real ones of two nodes, of which one dies, and drivers that are killed."""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import noisybench
from test_resume import result

import noisybench as package
from noisybench import datasets
from noisybench.config import Config
from noisybench.errors import InvalidValue
from noisybench.inputs import Inputs, with_inputs
from noisybench.labels.label_file import LabelFile
from noisybench.results import Epoch, Provenance, Pruning
from noisybench.store import Store
from noisybench.sweeps.observer import RunObserver
from noisybench.sweeps.ray.cluster import Cluster
from noisybench.sweeps.ray.connection import Nodes, connected
from noisybench.sweeps.ray.messages import DatasetBundle, RunRequest
from noisybench.sweeps.run import Job, run
from noisybench.sweeps.sweep import plan

SHORT = {"train_size": 300, "epochs": 4, "lr": 0.1}
LONGER = {"train_size": 300, "epochs": 60, "lr": 0.1}
ENDLESS = {"train_size": 1000, "epochs": 100_000}


@dataclass
class RayNodes:
    """A Ray cluster on this machine; each node has a scratch folder of its own, and no data."""

    cluster: Any
    folder: Path

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def scratch(self, name: str) -> Path:
        return self.folder / name

    def environment(self, name: str) -> dict[str, str]:
        return {
            "NOISYBENCH_SCRATCH": str(self.scratch(name)),
            "NOISYBENCH_HOME": str(self.folder / f"{name}-home"),
        }

    def add(self, name: str) -> Any:
        return self.cluster.add_node(num_cpus=1, env_vars=self.environment(name))


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayNodes]:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'noisybench[ray]'")
    from ray.cluster_utils import Cluster as RayCluster

    cluster = RayCluster()
    nodes = RayNodes(cluster, tmp_path_factory.mktemp("nodes"))
    cluster.add_node(num_cpus=1, include_dashboard=False, env_vars=nodes.environment("head"))
    yield nodes
    cluster.shutdown()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "runs.db")


def on_ray(
    nodes: RayNodes,
    store: Store,
    configs: list[Config],
    observer: RunObserver | None = None,
    retries: int = 0,
) -> tuple[list[dict[str, Any]], int]:
    with connected(nodes.address):
        there = Nodes("cpu")
        assert not there.missing()
        cluster = Cluster(store, there, observer or RunObserver(), retries)
        done = cluster.sweep(plan(configs, store))
        assert not cluster.contradictions
        return done


def one_by_one(configs: list[Config], path: Path) -> Store:
    """The same runs in this process, with as many threads."""
    alone, threads = Store.open(path), torch.get_num_threads()
    torch.set_num_threads(1)
    for job in plan(configs, alone):
        run(job, alone, torch.device("cpu"), RunObserver())
    torch.set_num_threads(threads)
    return alone


def assert_same(store: Store, alone: Store) -> None:
    """Each run once, and each the same, to the last bit."""
    rows = store.runs()
    assert sorted(row["id"] for row in rows) == sorted(row["id"] for row in alone.runs())
    for row in rows:
        assert result(store, row["identity"]) == result(alone, row["identity"])


class KillsNode(RunObserver):
    """Kills a node with all its processes as soon as a run there can go on from where it was."""

    def __init__(self, nodes: RayNodes, node: Any, name: str) -> None:
        self.nodes, self.node, self.scratch = nodes, node, nodes.scratch(name)
        self.killed = False
        self.failures: list[str] = []

    def show(self, event: Epoch | Pruning) -> None:
        if not self.killed and list(self.scratch.glob("runs/*/*/runs.db-runs/*/resume.pt")):
            self.nodes.cluster.remove_node(self.node, allow_graceful=False)
            self.killed = True

    def end(self, failure: str = "") -> None:
        self.failures += [failure] if failure else []


@pytest.mark.slow
def test_the_loss_of_a_node_changes_no_bit(nodes: RayNodes, store: Store, tmp_path: Path) -> None:
    losses = ("forward-that", "trunc-lq(q=0, k=0.12)", "lq")
    configs = [Config.create(loss=loss, seed=seed, **LONGER) for seed in (0, 1) for loss in losses]
    observer = KillsNode(nodes, nodes.add("doomed"), "doomed")
    assert on_ray(nodes, store, configs, observer) == ([], 0)
    assert observer.killed and any("worker was lost" in failure for failure in observer.failures)
    alone = one_by_one(configs, tmp_path / "alone.db")
    assert len(alone.runs()) == 8, "first stages are made, and once"
    assert_same(store, alone)
    assert not list(nodes.scratch("head").glob("runs/*")), "what is brought back is removed"


def test_a_run_on_labels_of_a_file_brings_them_to_its_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a node does, in this process."""
    from noisybench.sweeps.ray.node import work

    monkeypatch.setenv("NOISYBENCH_SCRATCH", str(tmp_path / "scratch"))
    digits = datasets.load("digits")
    given = LabelFile("human", np.roll(digits.train_labels, 1), index=digits.train_index).fit(digits)
    config, inputs = with_inputs({"train_size": 300, "epochs": 1}, Inputs(labels=given))
    request = RunRequest(
        job=Job(config, inputs=inputs),
        sweep="sweep",
        stage=None,
        data=(DatasetBundle.of("digits"),),
        device="cpu",
        threads=1,
    )
    response = work(pickle.dumps(request), lambda n: {}, lambda message, wait: None)
    assert response.failure == "" and response.bundle is not None
    row = response.bundle.rows["runs"][0]
    assert (row["noise"], row["status"]) == ("file(key=human)", "completed")


@pytest.mark.slow
def test_data_is_written_once_on_a_node_and_runs_fail_with_their_reasons(
    nodes: RayNodes, store: Store
) -> None:
    on_ray(nodes, store, [Config.create(loss="lq", **SHORT)])
    (prepared,) = [path for path in nodes.scratch("head").glob("data/*") if path.is_dir()]
    written = {file: file.stat() for file in prepared.iterdir()}
    assert len(written) == 7 and not (nodes.folder / "head-home").exists()
    configs = [Config.create(loss=loss, **{**SHORT, "lr": 1e20}) for loss in ("cce", "forward-that")]
    observer = KillsNode(nodes, None, "none")
    failed, left = on_ray(nodes, store, [*configs, Config.create(loss="mae", **SHORT)], observer, retries=1)
    reasons = {row["loss"]: row["reason"] for row in failed}
    assert "no longer a finite number" in reasons["cce"] and "has not completed" in reasons["forward-that"]
    assert left == 0 and len(failed) == 2 and len(observer.failures) == 4, "each is tried twice"
    status = {row["loss"]: row["status"] for row in store.runs()}
    assert status == {"lq(q=0.7)": "completed", "mae": "completed", "cce": "failed", "forward-that": "failed"}
    assert {file: file.stat() for file in prepared.iterdir()} == written


@pytest.mark.slow
def test_a_run_of_another_process_is_left_to_it(nodes: RayNodes, store: Store) -> None:
    configs = [Config.create(loss=loss, **SHORT) for loss in ("forward-that", "mae")]
    (stage,) = [job.config for job in plan(configs, store) if job.for_estimate]
    with subprocess.Popen(["sleep", "600"]) as other:
        claim = Provenance("cpu", "fp32", "", "", None, "", os.uname().nodename, other.pid)
        busy = store.begin(stage, claim)
        assert on_ray(nodes, store, configs) == ([], 2)
        assert {row["id"]: row["status"] for row in store.runs()}[busy] == "running"
        assert sorted(row["status"] for row in store.runs()) == ["completed", "running"]
        other.kill()
    # Nobody trains it any more.
    assert on_ray(nodes, store, configs) == ([], 0)
    assert [row["status"] for row in store.runs()] == ["completed"] * 3


def command(store: Path, grid: Path, *options: str) -> "subprocess.Popen[str]":
    code = "from noisybench.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "sweep", str(grid), "--db", str(store), "--executor", "ray", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # The very copy of noisybench that is tested, and not one in the working directory.
        env={**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1]), "PYTHONSAFEPATH": "1"},
    )


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_driver_that_was_killed_goes_on(nodes: RayNodes, store: Store, tmp_path: Path) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text(
        "set: {train_size: 300, epochs: 150, lr: 0.1}\ngrid: [{loss: [cce, lq, mae], seed: [0, 1]}]"
    )
    killed = command(store.path, grid, "--address", nodes.address)
    wait_for(lambda: len(store.results().query("status == 'completed'")) >= 2)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert len(store.results().query("status == 'completed'")) < 6
    again = command(store.path, grid, "--address", nodes.address, "--quiet")
    out, said = again.communicate(timeout=200)
    assert again.returncode == 0 and said == "" and "Not in the averages" not in out
    configs = [Config.from_row(row) for row in store.runs()]
    assert len(configs) == 6
    assert_same(store, one_by_one(configs, tmp_path / "alone.db"))


def processes_of(session: int) -> list[int]:
    """The living processes of a session: a command and all that it started."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, _, _, own = (path / "stat").read_text().rpartition(")")[2].split()[:4]
            found += [int(path.name)] if state != "Z" and int(own) == session else []
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGKILL])
def test_a_ray_of_its_own_ends_with_the_sweep(store: Store, tmp_path: Path, number: signal.Signals) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'noisybench[ray]'")
    grid = tmp_path / "grid.yaml"
    grid.write_text(f"set: {ENDLESS}\ngrid: [{{loss: [cce, lq, mae]}}]")
    scratch = tmp_path / "scratch"
    os.environ["NOISYBENCH_SCRATCH"] = str(scratch)
    process = command(store.path, grid)
    del os.environ["NOISYBENCH_SCRATCH"]
    wait_for(lambda: list(scratch.glob("runs/*/*/runs.db-runs/*/resume.pt")))
    assert len(processes_of(process.pid)) > 5
    os.kill(process.pid, number)
    _, said = process.communicate(timeout=60)
    if number == signal.SIGUSR1:
        assert process.returncode == 128 + number and "SIGUSR1" in said
        assert "To go on" in said and "Traceback" not in said
    # Ray's own helpers look only now and then whether they are still needed.
    wait_for(lambda: not processes_of(process.pid), 240)
    rows = Store.open(store.path).runs()
    assert rows and {row["status"] for row in rows} == {"interrupted"}
    assert list(scratch.glob("runs/*/*/runs.db-runs/*/resume.pt")), "the runs can go on"


@pytest.mark.slow
def test_nodes_must_have_this_noisybench(
    nodes: RayNodes, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "__version__", "99.0")
    with pytest.raises(InvalidValue, match="has noisybench .*, but this machine has 99.0"):
        on_ray(nodes, store, [Config.create(loss="lq", **SHORT)])
    assert [row["status"] for row in store.runs()] == ["interrupted"]


@pytest.mark.slow
def test_a_run_that_no_node_can_hold_is_told(nodes: RayNodes) -> None:
    with connected(nodes.address):
        assert "64 CPUs, but no node has: 1 CPUs" in Nodes("cpu", 64).missing()
        wanting = Nodes("auto", gpus=0.25).missing()
    assert "1 CPUs and 0.25 GPUs, but no node has: 1 CPUs and 0 GPUs" in wanting


def test_without_ray_it_is_said_how_to_get_it(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    done = noisybench("sweep", "demo", "--executor", "ray")
    assert done.exit_code == 2 and "pip install 'noisybench[ray]'" in done.output
    assert not database.exists()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", "no-such-host.invalid:6379", "[::1]:99999"])
def test_a_wrong_address_is_told_at_once(database: Path, address: str) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'noisybench[ray]'")
    start = time.monotonic()
    done = noisybench("sweep", "demo", "--executor", "ray", "--address", address)
    assert done.exit_code == 2 and address in done.output and "Traceback" not in done.output
    assert not database.exists()
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    "options", [("--address", "auto"), ("--cpus-per-run", 2), ("--executor", "ray", "--jobs", 2)]
)
def test_options_of_another_executor_are_refused(database: Path, options: tuple[object, ...]) -> None:
    assert noisybench("sweep", "demo", *options).exit_code == 2


def test_a_bundle_is_fetched_only_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = DatasetBundle.of("digits")
    files = bundle.files()

    def unwanted() -> Any:
        raise AssertionError("it is there")

    assert bundle.local_folder(tmp_path / "cache", unwanted).name == "digits"
    monkeypatch.setenv("NOISYBENCH_HOME", str(tmp_path / "empty"))
    place = bundle.local_folder(tmp_path / "cache", lambda: files)
    assert all((np.fromfile(place / name, np.uint8) == content).all() for name, content in files.items())
    assert bundle.local_folder(tmp_path / "cache", unwanted) == place
    (place / "test_labels.npy").write_bytes(b"")
    assert bundle.local_folder(tmp_path / "cache", lambda: files) == place
    assert (place / "test_labels.npy").stat().st_size == dict(bundle.sizes)["test_labels.npy"]

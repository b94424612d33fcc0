"""Tests never touch the user's data home or store."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import as_json
from hypothesis import settings

# Nothing has imported torch yet.  Each of xdist's workers, and what it starts, computes in one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# `pytest --hypothesis-profile=thorough` tries more.
settings.register_profile("quick", max_examples=10, deadline=None)
settings.register_profile("thorough", max_examples=60, deadline=None)
settings.load_profile("quick")

# Tests of `benchmarks`, which is not installed; last, so that an installed noisybench is what is tested.
sys.path.append(str(Path(__file__).parent.parent))


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """In the background of a shell Ctrl-C is ignored, and children would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOISYBENCH_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("NOISYBENCH_DB", str(tmp_path_factory.mktemp("store") / "runs.db"))
        patch.setenv("COLUMNS", "100")
        yield


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path for a store of its own, which the command line uses by default."""
    path = tmp_path / "runs.db"
    monkeypatch.setenv("NOISYBENCH_DB", str(path))
    return path


@pytest.fixture
def trained(database: Path) -> dict[str, Any]:
    run: dict[str, Any] = as_json("train", "--loss", "lq", "--epochs", 12, "--quiet")
    return run

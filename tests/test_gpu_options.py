"""How a run uses a GPU: what is refused, what happens where a step cannot be recorded, and what is told."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import noisybench
from pretended import CUDA, pretended_cuda
from test_pretended_device import CPU, equal, training

from noisybench import datasets
from noisybench.config import Config
from noisybench.errors import InvalidValue, RunFailed
from noisybench.inputs import corrupt
from noisybench.split import split
from noisybench.store import Store
from noisybench.sweeps.observer import RunObserver
from noisybench.sweeps.run import Job, run
from noisybench.training import compiled, device
from noisybench.training.checkpoints import Checkpoint
from noisybench.training.loop import Training


@pytest.mark.parametrize("command", [("train",), ("sweep", "demo", "--jobs", 1)])
def test_capturing_on_a_cpu_is_refused_before_anything_is_stored(command: Any, database: Path) -> None:
    done = noisybench(*command, "--device", "cpu", "--capture", "on")
    assert done.exit_code == 2 and "--device cuda" in done.stderr
    assert not database.exists()


@pytest.mark.parametrize("option", ["--capture", "--compile"])
def test_a_switch_has_three_positions(option: str) -> None:
    done = noisybench("train", option, "maybe")
    assert done.exit_code == 2 and all(word in done.stderr for word in ("maybe", "auto", "on", "off"))


@pytest.mark.parametrize("name", ["cpu:", "cuda:", "cuda:01", "cuda:²", "cuda:-1", "cpu:0", "tpu"])
def test_a_device_that_there_is_not(name: str) -> None:
    with pytest.raises(InvalidValue, match="cuda:N"):
        device.check_device(name)


def waiting(made: Training) -> Training:
    """A run whose loss asks for a value, so that no step can be recorded."""
    loss = made.method.loss

    def ask(*arguments: Any) -> torch.Tensor:
        losses = loss(*arguments)
        losses.sum().item()
        return losses

    made.method.loss = ask  # type: ignore[method-assign]
    return made


def test_a_run_whose_step_cannot_be_recorded_says_so_once_and_trains_step_by_step() -> None:
    on_cpu = training(CPU)
    list(on_cpu.run())
    with pretended_cuda():
        told: list[str] = []
        made = waiting(training(CUDA, "auto", tell=told.append))
        list(made.run())
        assert equal(made, on_cpu)
        assert len(told) == 1 and "--capture off" in told[0]
        with pytest.raises(RunFailed, match="cannot be captured"):
            list(waiting(training(CUDA, "on")).run())


def test_why_a_step_cannot_be_recorded_is_the_first_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended_cuda():
        records = torch.cuda.graph

        @contextmanager
        def ends_badly(graph: Any, stream: Any) -> Iterator[None]:
            with records(graph, stream):
                try:
                    yield
                finally:
                    raise RuntimeError("operation failed due to a previous error during capture")

        monkeypatch.setattr(torch.cuda, "graph", ends_badly)
        with pytest.raises(RunFailed, match="not permitted when stream is capturing"):
            list(waiting(training(CUDA, "on")).run())


def test_steps_on_a_gpu_are_recorded_unless_that_is_switched_off() -> None:
    with pretended_cuda():
        assert training(CUDA, "auto").captured is not None
        assert training(CUDA, "off").captured is None
    assert training(CPU, "auto").captured is None


def test_a_gpu_with_too_little_memory_says_what_to_lower(
    monkeypatch: pytest.MonkeyPatch, database: Path
) -> None:
    def full(self: Training, after: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(Training, "run", full)
    store = Store.open(database)
    with pytest.raises(RunFailed, match="--jobs.*--batch-size"):
        run(Job(Config.create(epochs=1)), store, CPU, RunObserver())
    (row,) = store.attempts(Config.create(epochs=1).identity)
    assert row["status"] == "failed" and "--jobs" in row["reason"]


@pytest.mark.parametrize("deterministic", [False, True])
def test_deterministic_runs_take_no_algorithm_by_its_speed(
    monkeypatch: pytest.MonkeyPatch, deterministic: bool
) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    second = torch.device("cuda:1")
    with torch.backends.cudnn.flags():
        device.set_up(second, "bf16", deterministic)
        assert torch.backends.cudnn.deterministic == deterministic
        assert torch.backends.cudnn.benchmark != deterministic
    assert chosen == [second]
    torch.backends.cuda.matmul.allow_tf32 = False


def test_the_gpu_that_torch_chooses_needs_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with torch.backends.cudnn.flags():
        for name in ("auto", "cuda"):
            device.set_up(device.choose_device(name), "fp32")


def test_a_stored_network_is_not_evaluated_in_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    made = training(CPU)
    list(made.run())
    digits = datasets.load("digits")
    cut = split(made.config, digits, corrupt(made.config, digits).given)
    stored = Checkpoint.of(made.config, made.best.epoch, made.best.state, made.mean, cut)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    with torch.backends.cudnn.flags(allow_tf32=True):
        with pretended_cuda():
            on_gpu = stored.logits(digits.test_images, digits, CUDA).cpu()
        assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
    assert torch.equal(on_gpu, stored.logits(digits.test_images, digits, CPU))


def test_long_runs_are_compiled_and_shorter_ones_where_the_code_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(compiled, "find_spec", lambda name: name)
    mark, table_1 = tmp_path / "mark", 120 * (45_000 // 128)
    assert compiled.compiles("auto", CUDA, table_1, mark)
    assert not compiled.compiles("auto", CUDA, table_1 // 2, mark)
    assert not compiled.compiles("auto", CPU, table_1, mark)
    assert compiled.compiles("on", CPU, 1, mark)
    mark.touch()
    assert compiled.compiles("auto", CUDA, table_1 // 2, mark)
    assert not compiled.compiles("auto", CUDA, 100, mark)
    monkeypatch.setattr(compiled, "find_spec", lambda name: None)
    assert not compiled.compiles("auto", CUDA, table_1, mark)


def test_compiled_code_is_kept_among_the_prepared_data_unless_torch_is_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NOISYBENCH_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "elsewhere")
    assert compiled.mark_of(CPU, "cnn6").parent == Path("elsewhere")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    mark = compiled.mark_of(CPU, "cnn6", 128)
    assert mark.parent == tmp_path / "compiled"
    assert mark == compiled.mark_of(CPU, "cnn6", 128) != compiled.mark_of(CPU, "cnn6", 64)


def test_a_mark_is_left_once_code_has_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.setattr(torch, "compile", lambda function, dynamic: function)
    mark = tmp_path / "new" / "mark"
    made = compiled.Compiled(lambda x: x + 1, True, print, mark)
    assert not mark.exists() and os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(mark.parent)
    assert made(1) == 2 and mark.exists()


def test_a_network_that_cannot_be_compiled_is_used_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(function: Any, dynamic: bool) -> Any:
        def call(*arguments: Any) -> Any:
            raise torch._dynamo.exc.TorchDynamoException("no compiler")

        return call

    import torch._dynamo

    monkeypatch.setattr(torch, "compile", fails)
    told: list[str] = []
    made, plain = training(CPU, compile="on", tell=told.append), training(CPU)
    with pytest.raises(RunFailed, match="cannot be compiled"):
        list(made.run())
    function = compiled.Compiled(lambda x: x + 1, False, told.append, tmp_path / "mark")
    assert function(1) == function(1) == 2
    assert len(told) == 1 and "--compile off" in told[0] and not (tmp_path / "mark").exists()
    assert made.model.state_dict().keys() == plain.model.state_dict().keys()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of the compiler
@pytest.mark.parametrize("loss", ["trunc-lq(k=0.1)", "co-teaching"])
def test_a_compiled_network_learns_alike_under_the_same_names(loss: str) -> None:
    schedule = {"prune_from": 1, "prune_every": 1} if loss.startswith("trunc") else {}
    made, plain = (
        training(CPU, compile=switch, loss=loss, model="resnet8(width=8)", **schedule)
        for switch in ("on", "off")
    )
    list(made.run()), list(plain.run())
    assert made.model.state_dict().keys() == plain.model.state_dict().keys()
    for ours, theirs in zip(made.epochs, plain.epochs, strict=True):
        assert ours.val_loss == pytest.approx(theirs.val_loss, rel=1e-3)

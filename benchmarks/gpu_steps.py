"""What `benchmarks.gpu` measures, a function for each kind of step.  Each needs a GPU, but for `errors`."""

import copy
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import usual
from benchmarks.acceptance import Found
from benchmarks.data import BATCH, cifar10
from noisybench import datasets
from noisybench.batches import PADDING, Images, epoch_steps, pixel_mean
from noisybench.config import Config
from noisybench.inputs import corrupt
from noisybench.registry import METHODS, MODELS
from noisybench.split import split
from noisybench.training import evaluation
from noisybench.training.device import set_up
from noisybench.training.gpu_options import GpuOptions
from noisybench.training.loop import Training
from noisybench.training.resume import restore, state_of

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
STEPS = 200
STEP_BY_STEP = GpuOptions("off", "off")
CAPTURED = GpuOptions("on", "off")
COMPILED = GpuOptions("on", "on")


def carry_out(name: str) -> Found:
    """Measure the step of this name, of `benchmarks.gpu.STEPS`."""
    kind, *values = name.split("-", 1)
    return FUNCTIONS[kind](*values)


def training(
    device: torch.device = CUDA,
    gpu: GpuOptions = STEP_BY_STEP,
    precision: str = "bf16",
    name: str = "cifar10",
    **values: Any,
) -> Training:
    """A run with 40 % uniform noise on a data set, by default of cce with the network of the protocol."""
    set_up(device, precision, gpu.deterministic)
    config = Config.create(**{"dataset": name, "loss": "cce", "rate": 0.4, **values})
    dataset = cifar10() if name == "cifar10" else datasets.load(name)
    drawn = corrupt(config, dataset)
    cut = split(config, dataset, drawn.given)
    return Training(config, dataset, cut, drawn.transition, device, precision, gpu=gpu)


def settings_of(loss: str) -> dict[str, Any]:
    """Of a small run of a method on digits, in which it does all that it does."""
    small = {"model": "mlp", "epochs": 3, "train_size": 300, "batch_size": 64, "trusted": 40, "loss": loss}
    method = Config.create(dataset="digits", rate=0.4, **small).method
    adam = {"optimiser": "adam", "lr": 0.001} if method.protocol else {}
    schedule = {"prune_from": 1, "prune_every": 1} if method.has_schedule else {}
    return {"name": "digits", "milestones": (2,), **small, **adam, **schedule}


def seconds_of(act: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    act()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def data() -> Found:
    return {name: len(datasets.load(name).train_images) for name in ("cifar10", "fashion-mnist")}


def ceilings() -> Found:
    n = 8192
    a, b = (torch.randn(n, n, device=CUDA, dtype=torch.bfloat16) for _ in range(2))
    source = torch.empty(2**30, dtype=torch.uint8, device=CUDA)
    target = torch.empty_like(source)
    a @ b, target.copy_(source)
    product = min(seconds_of(lambda: a @ b) for _ in range(20))
    copied = min(seconds_of(lambda: target.copy_(source)) for _ in range(20))
    return {
        "bf16 TFLOP/s": 2 * n**3 / product / 1e12,
        "TB/s": 2 * len(source) / copied / 1e12,
        "torch": torch.__version__,
        "CUDA": str(torch.version.cuda),
        "cuDNN": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "memory GiB": torch.cuda.get_device_properties(CUDA).total_memory / 2**30,
    }


def batches() -> Found:
    images = torch.from_numpy(cifar10().train_images)
    mean = pixel_mean(images)
    there, here = (Images(images, mean, device, PADDING) for device in (CUDA, CPU))
    rows = np.arange(len(images))
    pairs = zip(*(epoch_steps(rows, BATCH, True, 0, 1, device) for device in (CUDA, CPU)), strict=True)
    different = sum(not torch.equal(there.augmented(a).cpu(), here.augmented(b)) for a, b in pairs)
    return {"different": different, "batches": len(rows) // BATCH}


def gradients() -> Found:
    names = [entry.name for entry in METHODS]
    found = {
        precision: {name: errors(name, CUDA, precision) for name in names} for precision in ("fp32", "bf16")
    }
    worst = {precision: max(values, key=values.__getitem__) for precision, values in found.items()}
    return {
        **{precision: values[worst[precision]] for precision, values in found.items()},
        **{f"worst in {precision}": name for precision, name in worst.items()},
    }


def errors(loss: str, device: torch.device, precision: str) -> float:
    """The largest relative error, of the loss and of the gradients, against the CPU in float64 (in float32
    where a method computes in that only)."""
    made = training(device, precision=precision, **settings_of(loss))
    exact = training(CPU, precision="fp32", **settings_of(loss))
    exact.model.load_state_dict(made.model.state_dict())
    ours = loss_and_gradients(made, torch.float32)
    try:
        exact.model.double()
        theirs = loss_and_gradients(exact, torch.float64)
    except RuntimeError:
        exact = training(CPU, precision="fp32", **settings_of(loss))
        theirs = loss_and_gradients(exact, torch.float32)
    return max(float((a - b).norm() / b.norm()) for a, b in zip(ours, theirs, strict=True) if b.norm() > 0)


def loss_and_gradients(made: Training, dtype: torch.dtype) -> list[Tensor]:
    """The loss of the first step and its gradients, as float64 on the CPU, with images of a type."""
    made.begin(1)
    batch = made.batch(next(made.steps(1)))
    batch = replace(batch, images=batch.images.to(dtype), views=tuple(v.to(dtype) for v in batch.views))
    with made.autocast():
        output = made.method.forward(made.model, batch, made.state)
    loss = made.method.loss(output, batch, made.state).mean()
    parameters = [p for p in made.model.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    gradients = torch.cat([g.flatten().double().cpu() for g in found if g is not None])
    return [loss.detach().double().cpu(), gradients]


def waits() -> Found:
    waiting = []
    names = [entry.name for entry in METHODS]
    for name in names:
        made = training(**settings_of(name))
        made.begin(1)
        first, second, *_ = made.steps(1)
        made._step(first)
        torch.cuda.set_sync_debug_mode("error")
        try:
            made._step(second)
        except RuntimeError as error:
            waiting.append(f"{name}: {str(error).splitlines()[0]}")
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return {"waiting": waiting, "methods": len(names)}


def timed(made: Training) -> Found:
    """The time of STEPS steps, once the first have recorded or compiled what there is to."""
    made.begin(1)
    made.take(islice(made.steps(1), 10))
    torch.cuda.reset_peak_memory_stats()
    steps = list(islice(made.steps(2), STEPS))
    torch.cuda.synchronize()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start = time.perf_counter()
    begin.record()
    made.take(steps)
    end.record()
    host = time.perf_counter() - start
    torch.cuda.synchronize()
    return {
        "ms a step": begin.elapsed_time(end) / STEPS,
        "ms of the host": 1000 * host / STEPS,
        "GB at most": torch.cuda.max_memory_allocated() / 1e9,
    }


def eager() -> Found:
    from torch.profiler import ProfilerActivity, profile

    made = training()
    found = timed(made)
    step = next(made.steps(3))
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiler:
        made._step(step)
        torch.cuda.synchronize()
    kernels = sum("CUDA" in str(event.device_type) for event in profiler.events() or ())
    return {**found, "kernels": kernels}


def captured() -> Found:
    fast, same = (timed(training(gpu=replace(CAPTURED, deterministic=flag))) for flag in (False, True))
    return {
        **fast,
        "ms deterministic": same["ms a step"],
        "cost of deterministic": same["ms a step"] / fast["ms a step"],
    }


def compiled() -> Found:
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        cold = seconds_of(lambda: timed(training(gpu=COMPILED)))
        torch.compiler.reset()
        made = training(gpu=COMPILED)
        found: Found = {}
        warm = seconds_of(lambda: found.update(timed(made)))
    return {**found, "s cold": cold, "s warm": warm}


def replay() -> Found:
    """Over a change of the rate and a pruning, of a network with batch norm."""
    values: dict[str, Any] = {
        "model": "resnet8",
        "loss": "trunc-lq(k=0.1)",
        "epochs": 6,
        "milestones": (3,),
        "train_size": 2560,
        "prune_from": 2,
        "prune_every": 2,
    }

    def made(gpu: GpuOptions) -> Training:
        return training(gpu=replace(gpu, deterministic=True), **values)

    loop, recorded, again = made(STEP_BY_STEP), made(CAPTURED), made(CAPTURED)
    list(loop.run())
    saved: list[Any] = []

    def save(epoch: int) -> None:
        saved.append(copy.deepcopy((state_of(recorded), recorded.epochs, recorded.prunings)))

    list(recorded.run(save))
    restore(again, *saved[2])
    list(again.run())

    def same(a: Training, b: Training) -> bool:
        pairs = zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
        return all(torch.equal(x, y) for x, y in pairs)

    return {"recorded": same(loop, recorded), "resumed": same(recorded, again)}


def epochs(name: str) -> Found:
    found: Found = {}
    for way, gpu in (("step by step", STEP_BY_STEP), ("captured", CAPTURED), ("compiled", COMPILED)):
        made = training(gpu=gpu, name=name, epochs=4)
        list(made.run())
        found[f"{name} {way}"] = min(epoch.seconds for epoch in made.epochs[1:])
        if gpu == CAPTURED:
            found[f"{name} captured, training alone"] = min(alone(made, epoch) for epoch in (5, 6))
    return found


def alone(made: Training, epoch: int) -> float:
    """The seconds of an epoch's steps without evaluation."""
    made.begin(epoch)
    return seconds_of(lambda: made.take(made.steps(epoch)))


def of_evaluation() -> Found:
    made = training()
    sizes = (500, 1000, 2500)
    found: Found = {}
    for size in sizes:
        evaluation.ELSEWHERE = size
        found[str(size)] = min(seconds_of(lambda: made._predict(made.test_images)) for _ in range(5))
    return found


def of_usual(workers: str) -> Found:
    """As a user has it: torch's defaults, which are TF32 in convolutions, or no TF32."""
    dataset, made = cifar10(), training(precision="fp32")
    config = made.config
    cut = split(config, dataset, corrupt(config, dataset).given)
    found: Found = {}
    for name, tf32 in (("defaults", True), ("strict float32", False)):
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = tf32, False
        torch.backends.cudnn.benchmark = False
        model = MODELS.bind(config.model)(dataset.shape, dataset.n_classes).to(CUDA)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
        loader = usual.loader(dataset.train_images[cut.train], cut.given[cut.train], workers=int(workers))
        found[name] = min(
            seconds_of(lambda: usual.train(model, optimiser, loader, CUDA))  # noqa: B023  (called at once)
            for _ in range(3)
        )
    return found


def noisybench(*arguments: object) -> None:
    """The command, as a user types it."""
    command = [sys.executable, "-c", "from noisybench.cli import main; main()", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=sys.stderr)


def of_sweep(jobs: str) -> Found:
    with tempfile.TemporaryDirectory() as name:
        experiment = Path(name, "lq.yaml")
        experiment.write_text(
            "about: runs at once\nset: {dataset: cifar10, noise: uniform, rate: 0.4, loss: lq, epochs: 3}\n"
            "grid:\n  - {seed: [0, 1, 2, 3]}\n"
        )
        start = time.perf_counter()
        noisybench(
            "sweep", experiment, "--jobs", jobs, "--device", "cuda", "--db", Path(name, "runs.db"), "-q"
        )
        return {"s a run": (time.perf_counter() - start) / 4}


def of_cell(name: str) -> Found:
    """A run of Table 1; one that is cut off goes on from its last state."""
    from noisybench.reporting.published import find_source
    from noisybench.store import Store

    noise, rate, loss, seed = name.split(",")
    database = Path(os.environ.get("NOISYBENCH_GPU_RESULTS", "gpu-acceptance"), "cells.db")
    values = {"dataset": "cifar10", "noise": noise, "rate": rate, "loss": loss, "seed": seed}
    options = [part for key, value in values.items() for part in (f"--{key}", value)]
    noisybench("train", *options, "--device", "cuda", "--db", database, "-q")
    row = Store.read(database).completed(Config.create(**values).identity)
    assert row is not None
    config = Config.create(**values)
    paper = find_source("paper", "closed-set").numbers()["cifar10", config.loss, noise, config.rate]
    return {"test_accuracy": 100 * row["test_accuracy"], "paper": paper.mean, "seconds": row["seconds"]}


FUNCTIONS: dict[str, Callable[..., Found]] = {
    **{
        f.__name__: f
        for f in (data, ceilings, batches, gradients, waits, eager, replay, captured, compiled, epochs)
    },
    **{"evaluation": of_evaluation, "usual": of_usual, "sweep": of_sweep, "cell": of_cell},
}

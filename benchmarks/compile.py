"""Our training step with the network compiled by torch.compile, and what compiling costs."""

import time

import torch

from benchmarks.data import BATCH
from benchmarks.hardware import synchronise
from benchmarks.setting import Setting
from benchmarks.timing import Row, compare

NETWORKS = ("cnn6", "resnet18(width=16)")
ROUNDS = 5


def measure() -> list[Row]:
    names = ("resnet34", *NETWORKS) if torch.cuda.is_available() else NETWORKS
    return [row for name in names for row in network(name)]


def network(name: str) -> list[Row]:
    """The speed-up of a round, and the seconds of the first compiled one."""
    setting = Setting.of(name)
    training, n, device = setting.training, setting.n, setting.training.device
    plain = training.model.train()
    # On CUDA, this mode replays CUDA graphs.
    compiled = torch.compile(plain, mode="reduce-overhead")

    def act(model: torch.nn.Module) -> None:
        training.model = model
        for _ in range(n):
            training._step(next(setting.steps))
        synchronise(device)

    # Compiled anew, not read from the disk.
    torch.compiler.reset()
    torch.compiler.config.force_disable_caches = True
    start = time.perf_counter()
    act(compiled)
    first = time.perf_counter() - start
    row = compare(
        f"{name}, compiled",
        lambda: act(compiled),
        "as it is",
        lambda: act(plain),
        ROUNDS,
        count=n * BATCH,
        unit="images",
    )
    return [row, Row(f"compiling {name}, with its first {n} steps", [first], kind="seconds")]

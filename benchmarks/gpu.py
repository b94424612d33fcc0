"""Training on CUDA: the acceptance plan, in steps of under ten minutes, which ends with verdicts.

`python -m benchmarks gpu` carries it out in the folder gpu-acceptance (or $NOISYBENCH_GPU_RESULTS), goes on
there when it is called again, and leaves gpu.json and gpu.md.  Without CUDA it says so.
"""

import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from benchmarks.acceptance import Found, Plan, Verdict, last_line
from benchmarks.hardware import hardware
from benchmarks.timing import Goal, Row

# The cells of Table 1, in the order in which they are measured, each with five seeds.
CELLS = tuple(
    (noise, rate, loss)
    for noise, rates, losses in (
        ("uniform", (0.4, 0.6), ("lq", "trunc-lq")),
        ("uniform", (0.4, 0.6), ("cce", "forward-t")),
        ("class-dependent", (0.2, 0.4), ("cce", "forward-t", "lq", "trunc-lq")),
    )
    for rate in rates
    for loss in losses
)
SEEDS = range(5)

STEPS = {
    "data": "images that are prepared; without CIFAR-10, steps that time resnet34 take random ones",
    "ceilings": "products of matrices and copies of memory, at best",
    "batches": "batches on the GPU are those on the CPU, to the bit",
    "gradients": "loss and gradients of every method beside the CPU's in float64: largest relative errors",
    "waits": "a step of every method while torch refuses to wait for the GPU",
    "eager": "200 steps of resnet34, kernel by kernel",
    "replay": "with deterministic cuDNN: recorded steps, and a resumed run, end with the bits of the loop",
    "captured": "200 recorded steps of resnet34, and what deterministic cuDNN costs",
    "compiled": "the same compiled, and the first epoch with an empty and with a filled cache",
    **{f"epochs-{name}": "whole epochs with evaluation, in seconds" for name in ("cifar10", "fashion-mnist")},
    "evaluation": "seconds for 10,000 images, in batches of each size",
    "usual-2": "epoch of the usual loop with 2 workers, in torch's defaults and in strict float32",
    "usual-16": "the same with 16 workers",
    **{f"sweep-{jobs}": f"four runs of lq with 3 epochs, {jobs} at once" for jobs in (1, 2, 3, 4)},
    **{
        f"cell-{noise},{rate},{loss},{seed}": f"cifar10, {noise} {rate}, {loss}, seed {seed}"
        for cells, seeds in ((CELLS[:4], SEEDS[:1]), (CELLS[:4], SEEDS[1:]), (CELLS[4:], SEEDS))
        for seed in seeds
        for noise, rate, loss in cells
    },
}
# Runs of Table 1, and the epochs of each.
TABLE1 = (("cifar10", 240, 120), ("cifar10", 240, 150), ("fashion-mnist", 240, 120))
# The same comparison on a CPU with bfloat16 gives up to 2e-7, and 2.3e-2.
FP32, BF16 = 1e-3, 3e-2
POINTS = 1.0
# How many times faster than the usual loop, by its settings.
GOALS = {"defaults": 2.5, "strict float32": 4.0}


def measure() -> list[Row]:
    import torch

    if not torch.cuda.is_available():
        print("There is no CUDA device here: nothing was measured.", file=sys.stderr)
        return []
    folder = Path(os.environ.get("NOISYBENCH_GPU_RESULTS", "gpu-acceptance"))
    machine = hardware().rpartition(", ")[0]  # without the date: the plan may go on tomorrow
    plan = Plan(STEPS, [sys.executable, "-m", "benchmarks.gpu"], machine, judge)
    plan.carry_out(folder, lambda line: print(line, file=sys.stderr, flush=True))
    print((folder / "gpu.md").read_text(), file=sys.stderr)
    return rows(plan.found(folder))


def judge(found: Mapping[str, Found]) -> list[Verdict]:
    """Whether training on this GPU is right, and fast enough."""

    def verdict(what: str, step: str, holds: bool | None, text: str) -> Verdict:
        return Verdict(what, holds if step in found else None, text if step in found else "")

    def at_most(what: str, step: str, bound: float, value: float, unit: str) -> Verdict:
        return verdict(f"{what} {bound:g}{unit}", step, value <= bound, f"{value:.3g}{unit}")

    def hours(way: str) -> float:
        seconds = [runs * n * epochs.get(f"{dataset} {way}", math.inf) for dataset, runs, n in TABLE1]
        return math.fsum(seconds) / 3600

    cifar10 = "epochs-cifar10"
    both = "epochs-fashion-mnist" if cifar10 in found else cifar10
    gradients, epochs = found.get("gradients", {}), epochs_of(found)
    usual, alone = found.get("usual-16", {}), epochs.get("cifar10 captured, training alone", math.inf)
    deterministic = found.get("captured", {}).get("cost of deterministic", math.inf)
    captured, compiled = (epochs.get(f"cifar10 {way}", math.inf) for way in ("captured", "compiled"))
    verdicts = [
        verdict("the same batches", "batches", found.get("batches", {}).get("different") == 0, ""),
        verdict(
            f"gradients within {FP32:g} (fp32) and {BF16:g} (bf16)",
            "gradients",
            gradients.get("fp32", 1.0) < FP32 and gradients.get("bf16", 1.0) < BF16,
            f"{gradients.get('fp32')}, {gradients.get('bf16')}",
        ),
        verdict(
            "no step waits", "waits", found.get("waits", {}).get("waiting") == [], str(found.get("waits"))
        ),
        verdict(
            "recorded and resumed to the bit",
            "replay",
            bool(found.get("replay")) and all(found["replay"].values()),
            str(found.get("replay")),
        ),
        at_most("deterministic cuDNN, to be the default, costs at most", "captured", 1.05, deterministic, ""),
        at_most("an epoch of resnet34, captured, takes at most", cifar10, 2.0, captured, " s"),
        at_most("an epoch of resnet34, compiled and captured, takes at most", cifar10, 1.3, compiled, " s"),
        at_most("Table 1, captured, takes at most", both, 50, hours("captured"), " h"),
        at_most("Table 1, compiled and captured, takes at most", both, 35, hours("compiled"), " h"),
        *(
            verdict(
                f"{goal:g} times the usual loop with 16 workers, {setting}",
                cifar10 if usual else "usual-16",
                usual.get(setting, 0.0) / alone >= goal,
                f"{usual.get(setting, 0.0) / alone:.3g}",
            )
            for setting, goal in GOALS.items()
        ),
    ]
    for noise, rate, loss in CELLS:
        steps = [f"cell-{noise},{rate},{loss},{seed}" for seed in SEEDS]
        measured = [found[step] for step in steps if step in found]
        ours = fmean(cell["test_accuracy"] for cell in measured) if measured else 0.0
        paper = measured[0]["paper"] if measured else 0.0
        verdicts.append(
            Verdict(
                f"{loss} at {noise} {rate} within {POINTS:g} points of the paper",
                abs(ours - paper) <= POINTS if measured else None,
                f"{ours:.2f} of {len(measured)} seeds, paper {paper:.2f}" if measured else "",
            )
        )
    return verdicts


def epochs_of(found: Mapping[str, Found]) -> Found:
    """The seconds of epochs, of all data sets."""
    steps = [found[name] for name in STEPS if name.startswith("epochs-") and name in found]
    return {way: seconds for step in steps for way, seconds in step.items()}


def rows(found: Mapping[str, Found]) -> list[Row]:
    """Epochs beside those of the usual loop."""
    epochs = epochs_of(found)
    ours = epochs.get("cifar10 captured")
    return [
        Row(
            "epoch of resnet34 without evaluation, captured",
            [epochs["cifar10 captured, training alone"]],
            f"usual loop, {workers} workers, {setting}",
            [found[step][setting]],
            Goal("speed-up", goal),
        )
        for workers, step in ((2, "usual-2"), (16, "usual-16"))
        for setting, goal in GOALS.items()
        if ours is not None and step in found
    ]


if __name__ == "__main__":
    from benchmarks import gpu_steps

    last_line(gpu_steps.carry_out(sys.argv[1]))

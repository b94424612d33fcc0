"""Training on CUDA: the acceptance plan, in steps of under ten minutes, which ends with verdicts.

`python -m benchmarks gpu` carries it out in the folder gpu-acceptance (or $NOISYBENCH_GPU_RESULTS), goes on
there when it is called again, and leaves gpu.json and gpu.md.  Without CUDA it says so.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.acceptance import Found, Plan, Verdict, last_line
from benchmarks.hardware import hardware
from benchmarks.timing import Goal, Row

CELLS = tuple((rate, loss) for rate in (0.4, 0.6) for loss in ("lq", "trunc-lq"))

STEPS = {
    "ceilings": "products of matrices and copies of memory, at best",
    "batches": "batches on the GPU are those on the CPU, to the bit",
    "gradients": "loss and gradients of every method beside the CPU's in float64: largest relative errors",
    "waits": "a step of every method while torch refuses to wait for the GPU",
    "eager": "200 steps of resnet34, kernel by kernel",
    "replay": "with deterministic cuDNN: recorded steps, and a resumed run, end with the bits of the loop",
    "captured": "200 recorded steps of resnet34, and what deterministic cuDNN costs",
    "compiled": "the same compiled, and the first epoch with an empty and with a filled cache",
    "epochs": "whole epochs with evaluation, in seconds",
    "evaluation": "seconds for 10,000 images, in batches of each size",
    "usual-2": "epoch of the usual loop with 2 workers, in torch's defaults and in strict float32",
    "usual-16": "the same with 16 workers",
    **{f"sweep-{jobs}": f"four runs of lq with 3 epochs, {jobs} at once" for jobs in (1, 2, 3, 4)},
    **{f"cell-{rate}-{loss}": f"cifar10, uniform {rate}, {loss}, seed 0" for rate, loss in CELLS},
}
# Runs of Table 1, and the epochs of each.
TABLE1 = (("cifar10", 240, 120), ("cifar10", 240, 150), ("fashion-mnist", 240, 120))
# The same comparison on a CPU with bfloat16 gives up to 2e-7, and 2.3e-2.
FP32, BF16 = 1e-3, 3e-2
EPOCH, HOURS, POINTS = 2.0, 50.0, 1.0


def measure() -> list[Row]:
    import torch

    if not torch.cuda.is_available():
        print("There is no CUDA device here: nothing was measured.", file=sys.stderr)
        return []
    folder = Path(os.environ.get("NOISYBENCH_GPU_RESULTS", "gpu-acceptance"))
    plan = Plan(STEPS, [sys.executable, "-m", "benchmarks.gpu"], hardware(), judge)
    plan.carry_out(folder, lambda line: print(line, file=sys.stderr, flush=True))
    print((folder / "gpu.md").read_text(), file=sys.stderr)
    return rows(plan.found(folder))


def judge(found: Mapping[str, Found]) -> list[Verdict]:
    """Whether training on this GPU is right, and fast enough."""

    def verdict(what: str, step: str, holds: bool | None, text: str) -> Verdict:
        return Verdict(what, holds if step in found else None, text if step in found else "")

    gradients, epochs = found.get("gradients", {}), found.get("epochs", {})
    seconds = epochs.get("cifar10 captured", 0.0)
    hours = sum(runs * n * epochs.get(f"{dataset} captured", 0.0) / 3600 for dataset, runs, n in TABLE1)
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
        verdict(
            f"an epoch of resnet34 takes at most {EPOCH:g} s", "epochs", seconds <= EPOCH, f"{seconds:.3g} s"
        ),
        verdict(f"Table 1 in under {HOURS:g} GPU-hours", "epochs", hours < HOURS, f"{hours:.3g} h"),
    ]
    for rate, loss in CELLS:
        cell = found.get(f"cell-{rate}-{loss}", {})
        ours, paper = cell.get("test_accuracy", 0.0), cell.get("paper", 0.0)
        verdicts.append(
            verdict(
                f"{loss} at {rate} within {POINTS:g} points of the paper",
                f"cell-{rate}-{loss}",
                abs(ours - paper) <= POINTS,
                f"{ours:.2f}, paper {paper:.2f}",
            )
        )
    return verdicts


def rows(found: Mapping[str, Found]) -> list[Row]:
    """Epochs beside those of the usual loop."""
    epochs = found.get("epochs", {})
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
        for setting, goal in (("defaults", 2.5), ("strict float32", 4.0))
        if ours is not None and step in found
    ]


if __name__ == "__main__":
    from benchmarks import gpu_steps

    last_line(gpu_steps.carry_out(sys.argv[1]))

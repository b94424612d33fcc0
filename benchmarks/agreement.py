"""The same result: test accuracy of our training and of a plain PyTorch loop in float32, over seeds.

`python -m benchmarks.agreement [--seeds N] [--model MODEL]`.  At one seed both have the same noisy labels and
initial weights, and both follow the protocol; order, augmentation, precision and memory format are each one's
own.
"""

import argparse
from typing import Any

import numpy as np
import torch
from rich.progress import track
from scipy import stats

from benchmarks import usual
from benchmarks.data import cifar10
from benchmarks.hardware import hardware
from noisybench.config import Config
from noisybench.inputs import corrupt
from noisybench.split import split
from noisybench.training.device import choose_device, choose_precision, set_up
from noisybench.training.loop import Training, build_model

SETTING = {"dataset": "cifar10", "loss": "cce", "rate": 0.4, "train_size": 6000}
PROTOCOL = {"epochs": 6, "milestones": (4,), "lr": 0.1}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agreement", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--model", default="resnet8")
    arguments = parser.parse_args()
    setting = {**SETTING, "model": arguments.model, **PROTOCOL}
    pairs = np.array([both(setting, seed) for seed in track(range(arguments.seeds), "seeds")]) * 100
    ours, plain = pairs.T
    test = stats.ttest_rel(ours, plain)
    low, high = test.confidence_interval(0.95)
    print(hardware())
    print(f"{setting}: test accuracy in percent, mean ± standard deviation (n−1), n = {len(pairs)}")
    print(f"ours, {precision()}: {ours.mean():.2f} ± {ours.std(ddof=1):.2f}")
    print(f"plain loop, fp32: {plain.mean():.2f} ± {plain.std(ddof=1):.2f}")
    print(
        f"difference {np.mean(ours - plain):+.2f} points, 95 % interval {low:+.2f} to {high:+.2f},"
        f" paired t-test p = {test.pvalue:.2f}"
    )


def precision() -> str:
    return choose_precision("auto", choose_device("auto"))


def both(setting: dict[str, Any], seed: int) -> tuple[float, float]:
    """The test accuracies of the last epoch: ours, and the plain loop's."""
    config = Config.create(**setting, seed=seed)
    device = choose_device("auto")
    set_up(device, precision())
    dataset = cifar10()
    drawn = corrupt(config, dataset)
    cut = split(config, dataset, drawn.given)
    training = Training(config, dataset, cut, drawn.transition, device, precision())
    list(training.run())
    ours = training.result().last_test_accuracy

    set_up(device, "fp32")
    torch.manual_seed(seed)
    model = build_model(config, dataset, device).to(memory_format=torch.contiguous_format)
    optimiser = torch.optim.SGD(
        model.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
    )
    images, labels = dataset.train_images[cut.train], drawn.given[cut.train]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, config.milestones)
    mean = training.mean.cpu().permute(2, 0, 1)
    batches = usual.loader(images, labels, mean)
    for _ in range(config.epochs):
        usual.train(model, optimiser, batches, device)
        schedule.step()
    test = torch.from_numpy(dataset.test_images).permute(0, 3, 1, 2) / 255 - mean
    return ours, usual.accuracy(model, test, torch.from_numpy(dataset.test_labels), device)


if __name__ == "__main__":
    main()

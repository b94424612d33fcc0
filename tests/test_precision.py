import math
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch

from noisybench import datasets
from noisybench.config import Config
from noisybench.errors import InvalidValue
from noisybench.inputs import corrupt
from noisybench.registry import MODELS
from noisybench.split import split
from noisybench.store import Store
from noisybench.sweeps.observer import RunObserver
from noisybench.sweeps.run import Job, run
from noisybench.training.device import choose_precision
from noisybench.training.loop import Training
from noisybench.training.resume import Resume

CPU = torch.device("cpu")


def training(precision: str, **values: Any) -> Training:
    config = Config.create(**{"epochs": 8, "lr": 0.1, "rate": 0.4, "loss": "lq", **values})
    dataset = datasets.load("digits")
    drawn = corrupt(config, dataset)
    cut = split(config, dataset, drawn.given)
    return Training(config, dataset, cut, drawn.transition, CPU, precision)


@pytest.mark.parametrize(
    ("able", "chosen"),
    [
        ({}, "fp32"),
        ({"avx512_f": True}, "fp32"),
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
    ],
)
def test_auto_is_bf16_where_the_processor_has_it(
    able: dict[str, bool], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert choose_precision("auto", CPU) == chosen
    assert [choose_precision(name, CPU) for name in ("fp32", "bf16")] == ["fp32", "bf16"]


def test_a_precision_that_there_is_not() -> None:
    with pytest.raises(InvalidValue, match="precision is 'fp16', but must be text, one of auto, fp32, bf16"):
        Config.create(precision="fp16")


@pytest.mark.parametrize("model", ["mlp", "cnn6(width=8)", "resnet8(width=8)"])
def test_logits_and_statistics_are_float32_under_autocast(model: str) -> None:
    network = MODELS.bind(model)((8, 8, 1), 10)
    seen: list[torch.dtype] = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d) or isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(torch.randn(4, 1, 8, 8))
    assert logits.dtype == torch.float32
    assert seen[:-1] == [torch.bfloat16] * (len(seen) - 1), "all but the output layer"
    assert {value.dtype for value in network.state_dict().values()} <= {torch.float32, torch.int64}


@pytest.mark.parametrize("loss", ["lq", "wang2018"])
def test_bf16_is_deterministic_and_close_to_fp32(loss: str) -> None:
    values = {"loss": loss, "model": "mlp", "epochs": 2, "lr": 0.01}
    a, b, full = (training(precision, **values) for precision in ("bf16", "bf16", "fp32"))
    for one in (a, b, full):
        list(one.run())
    assert [e.val_loss for e in a.epochs] == [e.val_loss for e in b.epochs]
    assert a.epochs[0].train_loss != full.epochs[0].train_loss, "it does compute in bf16"
    assert a.epochs[0].train_loss == pytest.approx(full.epochs[0].train_loss, rel=0.02)


def test_both_precisions_learn_alike() -> None:
    """The mean accuracy over seeds, by a paired t-test with four seeds: |t| beyond 5.84 has p < 0.01."""
    differences = []
    for seed in range(4):
        accuracy = []
        for precision in ("bf16", "fp32"):
            one = training(precision, seed=seed)
            list(one.run())
            accuracy.append(one.result().last_test_accuracy)
        assert accuracy[0] > 0.6, "it has learnt something"
        differences.append(accuracy[0] - accuracy[1])
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    assert abs(statistics.mean(differences)) < 5.84 * error + 0.01


def test_the_precision_is_recorded(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "runs.db")
    configs = [Config.create(epochs=1, train_size=100, precision=name) for name in ("bf16", "fp32", "auto")]
    rows = [run(Job(config), store, CPU, RunObserver()) for config in configs]
    assert [row["computed_in"] for row in rows] == ["bf16", "fp32", choose_precision("auto", CPU)]
    assert [row["precision"] for row in rows] == ["bf16", "fp32", "auto"]
    assert len({row["identity"] for row in rows}) == 3, "what is given is a run of its own"


def test_a_run_does_not_go_on_in_another_precision(tmp_path: Path) -> None:
    one = training("fp32", epochs=2, train_size=100)
    list(one.run())
    Resume(tmp_path, one.config.identity, "fp32").offer(one, 2)
    assert Resume(tmp_path, one.config.identity, "fp32").read(one) is not None
    assert Resume(tmp_path, one.config.identity, "bf16").read(one) is None

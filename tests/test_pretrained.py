"""Initial weights from a file of torchvision's ResNets."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from commands import noisybench
from torch import Tensor

from noisybench.config import Config
from noisybench.errors import DataError
from noisybench.inputs import Inputs, with_inputs
from noisybench.pretrained import Pretrained
from noisybench.registry import MODELS
from noisybench.store import Store
from noisybench.sweeps.grid import load
from noisybench.sweeps.sweep import plan

# In float32: of images so small torch's gradients in bfloat16 are NaN now and then, from memory that nothing
# was written to (torch 2.15, with AMX).
TINY = {"epochs": 1, "train_size": 60, "model": "torchvision-resnet18", "precision": "fp32"}


@cache
def state(name: str, classes: int) -> dict[str, Tensor]:
    torch.manual_seed(0)
    weights: dict[str, Tensor] = getattr(torchvision.models, name)(num_classes=classes).state_dict()
    return weights


def weights(path: Path, name: str = "resnet18", classes: int = 10) -> Path:
    torch.save(state(name, classes), path)
    return path


def test_torchvisions_network_computes_what_the_file_computes(tmp_path: Path) -> None:
    path = weights(tmp_path / "w.pth")
    ours = MODELS.bind("torchvision-resnet18")((64, 64, 3), 10)
    theirs = torchvision.models.resnet18(num_classes=10)
    theirs.load_state_dict(torch.load(path))
    said = Pretrained.read(path).start(ours)
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
    assert "All weights" in said


@pytest.mark.parametrize(("name", "depth"), [("resnet18", 8), ("resnet34", 16)])
def test_the_blocks_of_our_resnets_compute_what_those_of_the_file_compute(
    tmp_path: Path, name: str, depth: int
) -> None:
    path = weights(tmp_path / "w.pth", name, classes=1000)
    ours = MODELS.bind(name)((32, 32, 3), 10)
    before = {key: value.clone() for key, value in ours.state_dict().items()}
    said = Pretrained.read(path).start(ours)
    theirs = getattr(torchvision.models, name)()
    theirs.load_state_dict(torch.load(path))
    x = torch.rand(2, 64, 16, 16)
    for layer in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
        layer.eval()
    expected = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(x))))
    assert len(ours.stages) == depth
    torch.testing.assert_close(ours.eval().stages(x), expected)
    for key in ("stem.0.weight", "stem.1.weight", "output.weight", "output.bias"):
        assert torch.equal(ours.state_dict()[key], before[key])
    assert "64×3×3×3 here, 64×3×7×7 in the file" in said and "10×512 here, 1000×512 in the file" in said


@pytest.mark.parametrize("model", ["resnet18(width=16)", "resnet8", "mlp", "torchvision-resnet34"])
def test_other_networks_are_refused_and_those_that_fit_are_named(tmp_path: Path, model: str) -> None:
    given = Pretrained.read(weights(tmp_path / "w.pth"))
    network = MODELS.bind(model)((32, 32, 3), 10)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(DataError, match="torchvision-resnet18"):
        given.start(network)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_grey_images_have_a_new_stem(tmp_path: Path) -> None:
    network = MODELS.bind("torchvision-resnet18")((28, 28, 1), 10)
    assert "conv1.weight" in Pretrained.read(weights(tmp_path / "w.pth")).start(network)


class Exploit:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    bad = Exploit(tmp_path / "executed")
    contents: list[Any] = [bad, {"conv1.weight": bad}, [1], {}, {"a": 1}, {1: torch.zeros(1)}]
    for number, content in enumerate(contents):
        torch.save(content, tmp_path / f"{number}.pth")
    (tmp_path / "text.pth").write_text("weights")
    (tmp_path / "cut.pth").write_bytes(weights(tmp_path / "w.bin").read_bytes()[:5000])
    (tmp_path / "empty.pth").touch()
    for path in [*tmp_path.glob("*.pth"), tmp_path / "missing.pth"]:
        with pytest.raises(DataError, match=path.name) as raised:
            Pretrained.read(path)
        assert "weights_only" not in str(raised.value)
    assert not (tmp_path / "executed").exists()


def test_wrapped_weights_are_read_and_infinite_ones_are_not(tmp_path: Path) -> None:
    loaded = torch.load(weights(tmp_path / "w.pth"))
    wrapped = {f"module.{name}": value for name, value in loaded.items()}
    torch.save({"epoch": 3, "state_dict": wrapped}, tmp_path / "moco.pth")
    network = MODELS.bind("torchvision-resnet18")((64, 64, 3), 10)
    assert "All weights" in Pretrained.read(tmp_path / "moco.pth").start(network)
    loaded["layer1.0.conv1.weight"][0] = float("nan")
    torch.save(loaded, tmp_path / "nan.pth")
    with pytest.raises(DataError, match="finite"):
        Pretrained.read(tmp_path / "nan.pth").start(network)


def test_the_content_of_the_file_is_part_of_the_identity(tmp_path: Path) -> None:
    def config(path: Path) -> Config:
        return with_inputs({"model": "torchvision-resnet18"}, Inputs(pretrained=Pretrained.read(path)))[0]

    first = weights(tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(first.read_bytes())
    torch.save({k: v + 1 for k, v in torch.load(first).items()}, tmp_path / "c.pth")
    same, other = config(tmp_path / "b.pth"), config(tmp_path / "c.pth")
    plain = Config.create(model="torchvision-resnet18")
    assert config(first).identity == same.identity
    assert len({same.identity, other.identity, plain.identity}) == 3


def test_initial_weights_are_an_axis_of_an_experiment(tmp_path: Path) -> None:
    file = weights(tmp_path / "w.pth")
    digest = Pretrained.read(file).digest
    path = tmp_path / "weights.yaml"
    path.write_text(
        "set: {model: torchvision-resnet18}\ngrid: [{pretrained: ['', w.pth], loss: [cce, forward-that]}]"
    )
    experiment = load(str(path))
    assert [c.pretrained for c in experiment.configs] == ["", "", digest, digest]
    given = {"model": "torchvision-resnet18", "loss": "cce"}
    alone = with_inputs(given, Inputs(pretrained=Pretrained.read(file)))[0]
    assert alone.identity in {c.identity for c in experiment.configs}
    # The first stage of a run starts from its weights, too.
    jobs = plan(experiment.configs, Store.open(tmp_path / "new.db"), files=experiment.files)
    assert len(jobs) == 4
    assert all((job.inputs.pretrained is not None) == bool(job.config.pretrained) for job in jobs)
    for block, message in {
        "pretrained: w.pth, model: resnet8": "torchvision-resnet34",
        "pretrained: none.pth": "none.pth",
    }.items():
        path.write_text(f"grid: [{{{block}}}]")
        with pytest.raises(DataError, match=message):
            load(str(path))


def test_a_run_starts_from_the_file(tmp_path: Path, database: Path) -> None:
    path = weights(tmp_path / "w.pth")
    setting = {**TINY, "lr": 0}
    short = [word for key, value in setting.items() for word in (f"--{key.replace('_', '-')}", value)]
    result = noisybench("train", *short, "--quiet", "--pretrained", path, "--json")
    assert result.exit_code == 0 and "conv1.weight" in result.stderr, result.output
    assert noisybench("evaluate", json.loads(result.stdout)["run"]).exit_code == 0
    refused = noisybench("train", "--epochs", 1, "--pretrained", path)
    assert refused.exit_code == 2 and "torchvision-resnet18" in refused.stderr


@pytest.mark.slow
def test_sweep_and_tune_start_from_the_file_and_count_each_others_runs(
    tmp_path: Path, database: Path
) -> None:
    weights(tmp_path / "w.pth")
    setting = {**TINY, "lr": 0.01}
    path = tmp_path / "weights.yaml"
    path.write_text(json.dumps({"set": setting, "grid": [{"pretrained": "w.pth", "loss": ["cce", "mae"]}]}))
    assert noisybench("sweep", path, "--quiet", "--jobs", 1).exit_code == 0
    rows = Store.open(database).results()
    assert rows["pretrained"].tolist() == 2 * [Pretrained.read(tmp_path / "w.pth").digest]
    options = [word for key, value in setting.items() for word in (f"--{key.replace('_', '-')}", value)]
    tuned = ("tune", *options, "--pretrained", tmp_path / "w.pth", "--over", "loss=cce,mae", "--trials", 2)
    result = noisybench(*tuned, "--json")
    assert result.exit_code == 0, result.output
    assert len(Store.open(database).results()) == 2
    assert f"--pretrained {tmp_path / 'w.pth'}" in json.loads(result.stdout)["command"]

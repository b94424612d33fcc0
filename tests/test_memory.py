"""Networks that do not fit into memory are refused before any of it is taken."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import noisybench

from noisybench import datasets
from noisybench.config import Config
from noisybench.training import memory

CPU = torch.device("cpu")
HUGE = "mlp(hidden=65536)"


def test_the_bytes_of_a_perceptron() -> None:
    """Of 64, 256, 256 and 10 units: four copies of each parameter under SGD with momentum, five under Adam;
    a batch leaves its images and what comes out of both hidden layers."""
    n = 64 * 256 + 256 + 256 * 256 + 256 + 256 * 10 + 10
    settings: dict[str, Any]
    for settings, copies in (({}, 4), ({"optimiser": "adam"}, 5), ({"momentum": 0.0}, 3)):
        config = Config.create(batch_size=32, precision="fp32", **settings)
        found = memory.of_network(config, datasets.load("digits"), CPU)
        assert found == (n, 4 * (copies * n + 32 * (64 + 256 + 256)))


@pytest.mark.parametrize(
    "command",
    [
        f"train --model {HUGE}",
        "train --hidden 65536 --loss dividemix",
        "train --model resnet34(width=1024)",
        "sweep grid.yaml",
        "sweep grid.yaml --jobs 2",
        f"tune --over q=0.1..0.9 --loss lq --model {HUGE}",
        f"diagnose digits --model {HUGE}",
    ],
)
def test_a_network_beyond_the_memory_is_refused(
    command: str, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    grid = tmp_path / "grid.yaml"
    grid.write_text(f"set: {{model: {HUGE}}}\ngrid: [{{loss: [lq, cce], seed: [0, 1]}}]")
    monkeypatch.setattr(memory, "memory", lambda: 10 * 10**9)
    result = noisybench(*command.split())
    assert result.exit_code == 2 and "10.0 GB are free" in result.stderr, result.output
    said = result.stderr.splitlines()
    assert "parameters" in said[-1] and len(said) <= 2
    assert list(tmp_path.iterdir()) == [grid]


@pytest.mark.parametrize("command", ["evaluate", "prune"])
def test_a_file_of_a_network_beyond_the_memory_is_refused(
    command: str, database: Path, trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "memory", lambda: 100_000)
    result = noisybench(command, trained["run"])
    assert result.exit_code == 2 and "of memory" in result.stderr and result.stderr.count("\n") == 1


def test_a_file_that_unpacks_to_more_than_it_has_is_not_unpacked(
    database: Path, trained: dict[str, Any]
) -> None:
    """Torch writes files that are not compressed, and would read others, whatever they unpack to."""
    network = Path(f"{database}-runs", trained["run"], "best.pt")
    with zipfile.ZipFile(network) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    with zipfile.ZipFile(network, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert torch.load(network)["epoch"]
    assert "is damaged" in noisybench("evaluate", trained["run"]).stderr
    torch.save(torch.ones(3), network, _use_new_zipfile_serialization=False)
    assert "is damaged" in noisybench("evaluate", trained["run"]).stderr

"""What people see while runs train, and texts from outside in what is printed."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from commands import noisybench, succeed
from rich.console import Console
from stores import put
from test_store import EPOCH

from noisybench.cli.console import console
from noisybench.cli.live import Bars, Live
from noisybench.cli.progress import Lines
from noisybench.config import Config
from noisybench.store import Store
from noisybench.sweeps.observer import RunObserver

CONFIG = Config.create(loss="lq", epochs=12)
NOW = replace(EPOCH, epoch=3, train_loss=0.625, val_accuracy=0.71, test_accuracy=0.82)


def seen(bars: Bars) -> str:
    """The live display as text."""
    paper = Console(file=io.StringIO(), width=120)
    paper.print(*bars.get_renderables())
    return paper.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("runs", [1, 3])
def test_the_live_display_shows_losses_and_accuracies_and_no_unknown_number(runs: int) -> None:
    with Bars(Console(file=io.StringIO(), force_terminal=True)) as bars:
        live = Live(bars, runs)
        assert "?" not in seen(bars) and "starting" in seen(bars)
        observers: list[RunObserver] = [live] if runs == 1 else [live.job(), live.job()]
        for number, observer in enumerate(observers):
            observer.start(replace(CONFIG, seed=number))
        assert "?" not in seen(bars) and "starting" not in seen(bars) and "0/12" in seen(bars)
        observers[-1].show(NOW)
        for word in ("0.625", "71.0%", "82.0%", "3/12"):
            assert word in seen(bars)
        observers[-1].end()
        assert runs == 1 or "0.625" not in seen(bars), "a run that has ended is not shown"


def test_the_line_of_a_run_names_the_epoch_of_its_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(2).job()
    lines.start(CONFIG)
    for number in (3, 12):
        lines.show(replace(NOW, epoch=number))
    lines.end()
    (line,) = capsys.readouterr().err.splitlines()
    assert "last epoch 12: " in line and "82.0%" in line


def test_a_pipe_is_no_terminal_although_colour_is_forced(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    store = Store.open(database)
    for loss in ("lq", "cce", "mae"):
        put(store, Config.create(loss=loss, epochs=12))
    console.cache_clear()
    shown = succeed("report")
    assert "bold" not in shown and "marked *" in shown and "*" in shown.partition("marked *")[2]
    listed = succeed("runs", "list").splitlines()
    assert len(listed) == 4, "each run keeps to its line"
    trained = noisybench("train", "--epochs", 1, "--train-size", 300)
    console.cache_clear()
    assert "epoch 1/1" in trained.stderr and "\x1b[?25" not in trained.stderr, "no cursor is moved"


@pytest.mark.parametrize("command", [("evaluate", "RUN"), ("corrupt", "--dataset", "mine"), ("data", "list")])
def test_names_of_classes_are_no_markup(
    command: tuple[str, ...], database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    monkeypatch.setenv("NOISYBENCH_HOME", str(tmp_path / "home"))
    names = ("[red]", "[bold]")
    for part, n in (("train", 12), ("test", 4)):
        for number, name in enumerate(names):
            folder = tmp_path / "images" / part / name
            folder.mkdir(parents=True)
            for image in range(n):
                Image.new("L", (8, 8), 100 * number + image + (50 if part == "test" else 0)).save(
                    folder / f"{image}.png"
                )
    succeed("data", "add", "mine", "--from", tmp_path / "images")
    arguments = list(command)
    if command[0] == "evaluate":
        done = succeed(
            "train", "--dataset", "mine", "--epochs", 1, "--batch-size", 4, "--model", "mlp", "--json"
        )
        arguments = ["evaluate", json.loads(done)["run"]]
    if command[0] == "corrupt":
        arguments += ["--out", str(tmp_path / "labels.npz")]
    shown = succeed(*arguments)
    assert command[0] == "data" or "[red]" in shown

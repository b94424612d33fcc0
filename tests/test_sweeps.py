"""Experiments as data, which runs a sweep makes, and how long it says that they take."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import as_json, noisybench, succeed
from test_store import EPOCH, HERE, PRUNING, RESULT

from noisybench import datasets
from noisybench.config import Config
from noisybench.errors import DataError
from noisybench.inputs import as_prepared
from noisybench.store import Store
from noisybench.sweeps.estimate import Forecast, in_words
from noisybench.sweeps.grid import load, packaged, read
from noisybench.sweeps.resources import default_jobs, threads_per_job
from noisybench.sweeps.sweep import with_seeds

SIX = {"cce", "mae", "forward-t", "forward-that", "lq(q=0.7)", "trunc-lq(q=0.7, k=0.5)"}


def test_table_1_is_720_runs_at_the_protocol() -> None:
    configs = load("table1").configs
    assert len(configs) == 720
    cells = Counter((c.dataset, c.loss, c.noise, c.rate) for c in configs)
    assert len(cells) == 144 and set(cells.values()) == {5}
    assert {c.loss for c in configs} == SIX
    for c in configs:
        assert c == Config.create(dataset=c.dataset, loss=c.loss, noise=c.noise, rate=c.rate, seed=c.seed)


def test_the_small_grids_are_those_of_the_tables() -> None:
    for name in ("table1", "table2"):
        large, small = load(name).configs, load(f"{name}-small").configs
        assert {(c.loss, c.noise, c.rate) for c in large} == {(c.loss, c.noise, c.rate) for c in small}
        assert {c.dataset for c in small} <= {c.dataset for c in large}


def test_table_2_is_the_six_conv_cnn_without_augmentation() -> None:
    configs = load("table2").configs
    assert {c.noise for c in configs} == {"open-set(source=cifar100)", "uniform"}
    common = {(c.dataset, c.rate, c.draws, c.model, c.epochs, c.augment) for c in configs}
    assert common == {("cifar10", 0.4, "exact", "cnn6(width=64)", 100, "none")}
    (schedule,) = {(c.prune_from, c.prune_every) for c in configs if c.loss.startswith("trunc-lq")}
    assert schedule == (10, 10)
    assert {c.optimiser for c in configs if c.loss.startswith("wang2018")} == {"adam"}


@pytest.mark.parametrize("name", ["table2", "table2-small"])
def test_cce_and_lq_are_also_trained_under_the_protocol_of_wang2018(name: str) -> None:
    def settings(loss: str) -> set[tuple[Any, ...]]:
        names = ("model", "epochs", "batch_size", "optimiser", "lr", "milestones", "weight_decay", "augment")
        found = [c for c in load(name).configs if c.loss.startswith(loss)]
        return {tuple(getattr(c, each) for each in names) for c in found}

    (own,) = settings("wang2018")
    for loss in ("cce", "lq"):
        assert own in settings(loss) and len(settings(loss)) == 2


def test_a_block_takes_only_a_protocol_that_there_is(tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    for method in ("cce", "nothing"):
        path.write_text(f"grid: [{{loss: lq, protocol: {method}}}]")
        with pytest.raises(DataError, match=method):
            load(str(path))


def test_the_figures_are_of_adam_at_its_defaults() -> None:
    for name in ("fig1", "fig2"):
        experiment = load(name)
        assert (experiment.figure, experiment.table) == (name, "")
        assert {(c.optimiser, c.lr, c.milestones, c.weight_decay) for c in experiment.configs} == {
            ("adam", 0.001, (), 0.0)
        }
    (rates, qs) = ({c.rate for c in load("fig2").configs}, {c.loss for c in load("fig2").configs})
    assert rates == {0, 0.2, 0.6} and qs == {f"lq(q={q})" for q in ("0", "0.2", "0.4", "0.6", "0.8", "1")}


@pytest.mark.parametrize("name", packaged())
def test_every_experiment_says_what_it_is_for(name: str) -> None:
    experiment = load(name)
    assert experiment.about and experiment.configs and (experiment.table or experiment.figure)


def test_seeds_replace_those_of_the_experiment() -> None:
    configs = load("demo").configs
    few, many = with_seeds(configs, 2), with_seeds(configs, 5)
    assert set(few) == {c for c in configs if c.seed < 2} and set(configs) < set(many)
    assert len(many) == 50 and [c.seed for c in many] == sorted(c.seed for c in many)


def store_with_epochs(
    path: Path, seconds: list[float], config: Config, device: str = "cpu (2 threads)"
) -> Store:
    import socket

    store = Store.open(path)
    run = store.begin(config, replace(HERE, host=socket.gethostname(), device=device))
    for number, value in enumerate(seconds, 1):
        store.add(run, replace(EPOCH, epoch=number, seconds=value))
    store.complete(run, RESULT)
    return store


def test_the_estimate_is_the_mean_epoch_with_its_pruning_times_the_epochs(tmp_path: Path) -> None:
    measured = Config.create(dataset="digits", loss="cce", epochs=3)
    store = store_with_epochs(tmp_path / "runs.db", [9.0, 1.0, 2.0], measured)
    (run,) = store.runs()
    store.add(run["id"], replace(PRUNING, epoch=2, seconds=3.0))
    estimate = Forecast(store, "cpu (2 threads)")
    assert estimate.of(Config.create(loss="lq", epochs=10, seed=4, rate=0.6)) == 50
    for other in ({"model": "resnet8"}, {"train_size": 400}, {"batch_size": 16}, {"loss": "wang2018"}):
        given = {"model": "mlp", "batch_size": 32, **other}
        assert estimate.of(Config.create(**given)) is None
    assert Forecast(store, "cuda").of(measured) is None


def test_a_dry_run_trains_nothing(tmp_path: Path, database: Path) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text("set: {epochs: 2, train_size: 300}\ngrid: [{loss: [lq, forward-that], seed: [0, 1]}]")
    succeed("sweep", grid, "--where", "loss=lq", "--seeds", 1, "--quiet")
    shown = succeed("sweep", grid, "--dry-run")
    assert "digits uniform 0.4 lq(q=0.7) seed 0: in the store" in shown
    assert "digits uniform 0.4 cce seed 1: to be trained, as a first stage" in shown
    assert "4 runs: 1 in the store, 3 to be trained, 2 more as first stages." in shown
    assert "for 5 of 5 runs" in shown
    assert [row["loss"] for row in Store.open(database).runs()] == ["lq(q=0.7)"]
    unknown = succeed("sweep", "demo", "--seeds", 1, "--dry-run")
    assert "For 10 runs, no epoch has been measured" in unknown
    assert (
        f"`OMP_NUM_THREADS={threads_per_job(default_jobs(15, ['cpu']))} noisybench train --epochs 1`"
        in unknown
    )
    assert noisybench("sweep", "demo", "--seeds", 0).exit_code == 2


def test_a_single_run_takes_its_own_time(tmp_path: Path, database: Path) -> None:
    """However many there could be at once."""
    grid = tmp_path / "grid.yaml"
    grid.write_text("set: {epochs: 200, train_size: 300}\ngrid: [{loss: [lq, cce]}]")
    config = as_prepared(Config.create(dataset="digits", loss="cce", epochs=1, train_size=300))
    store = store_with_epochs(database, [30.0], config, f"cpu ({threads_per_job(4)} threads)")
    store.conn.close()
    shown = succeed("sweep", grid, "--dry-run", "--jobs", 4, "--where", "loss=lq")
    assert "1 h 40 min for 1 of 1 runs, 1 at a time." in shown


def test_what_cannot_be_is_refused_before_a_run_begins(database: Path) -> None:
    for options in (("--precision", "fp16"), ("--executor", "ray", "--gpus-per-run", 1.5)):
        for dry in ((), ("--dry-run",)):
            assert noisybench("sweep", "demo", *options, *dry).exit_code == 2
    assert not database.exists() or not Store.open(database).runs()


def test_what_a_cluster_has_is_not_asked_here(database: Path) -> None:
    shown = succeed("sweep", "demo", "--executor", "ray", "--device", "cuda", "--dry-run")
    assert "30 runs: 0 in the store, 30 to be trained." in shown and "measured here" not in shown


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (89, "89 s"), (91, "2 min"), (5340, "89 min"), (5400, "1 h 30 min"), (200_000, "2 d 8 h")],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_a_figure_may_be_what_an_experiment_is_for(tmp_path: Path, database: Path) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text(
        "figure: fig1\nset: {epochs: 2, train_size: 300, rate: 0, seed: 0}\ngrid: [{loss: [cce, mae]}]"
    )
    said = succeed("sweep", grid, "--quiet")
    assert "`noisybench report --figure fig1 --out fig1.pdf`" in said and "loss" not in said
    succeed("report", "--figure", "fig1", "--out", tmp_path / "fig1.pdf")
    grid.write_text("figure: fig3\ngrid: [{loss: cce}]")
    with pytest.raises(DataError, match=r"grid\.yaml: No figure is called 'fig3'.*fig1, fig2"):
        read(grid)


def write_human_labels(folder: Path) -> None:
    """human.csv: two kinds of labels of digits, 25 and 50 % wrong."""
    digits = datasets.load("digits")
    rows = zip(digits.train_index, digits.train_labels, strict=True)
    lines = [f"{i},{y},{(y + (i % 4 == 0)) % 10},{(y + (i % 2 == 0)) % 10}" for i, y in rows]
    (folder / "human.csv").write_text("\n".join(["index,clean_label,best,worst", *lines]))


def test_label_files_are_an_axis_of_an_experiment(tmp_path: Path) -> None:
    write_human_labels(tmp_path)
    path = tmp_path / "human.yaml"
    path.write_text("grid: [{labels: ['human.csv:best', 'human.csv:worst'], loss: [cce, lq], seed: [0, 1]}]")
    experiment = load(str(path))
    assert [(c.noise, round(c.rate, 2)) for c in experiment.configs if c.loss == "cce"] == 2 * [
        ("file(key=best)", 0.25),
        ("file(key=worst)", 0.5),
    ]
    assert set(experiment.files.labels) == {c.labels for c in experiment.configs}


def test_paths_in_an_experiment_start_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "experiment"
    folder.mkdir()
    write_human_labels(folder)
    (folder / "map.yaml").write_text("{'3': '8'}")
    (folder / "map.csv").write_text("1,7\n")
    (folder / "rows.csv").write_text("\n".join(",".join("01"[i == j] for j in range(10)) for i in range(10)))
    (folder / "half.py").write_text("def half(logits, target):\n    return logits.sum(-1) / 2\n")
    path = folder / "all.yaml"
    path.write_text(
        "grid:\n"
        "  - {labels: human.csv:best}\n"
        "  - {noise: class-dependent, map: [map.yaml, map.csv]}\n"
        "  - {noise: \"class-dependent(map='map.csv')\", rate: 0.3}\n"
        "  - {noise: matrix, rows: rows.csv}\n"
        "  - {loss: 'half.py:half'}\n"
    )
    # The working directory has other files of these names.
    for file in folder.iterdir():
        (tmp_path / file.name).write_text("")
    monkeypatch.chdir(tmp_path)
    configs = load("experiment/all.yaml").configs
    assert {c.noise.partition("(")[0] for c in configs} == {"file", "class-dependent", "matrix", "uniform"}
    assert sorted(c.noise[21:24] for c in configs if "map" in c.noise) == ["1>7", "1>7", "3>8"]
    assert load(str(path)).configs == configs
    path.write_text(path.read_text().replace("rows.csv", str(folder / "rows.csv")))
    assert load("experiment/all.yaml").configs == configs


@pytest.mark.slow
def test_a_sweep_trains_on_label_files_as_train_does(tmp_path: Path, database: Path) -> None:
    write_human_labels(tmp_path)
    path = tmp_path / "human.yaml"
    path.write_text(
        "set: {epochs: 1}\ngrid: [{labels: ['human.csv:best', 'human.csv:worst'], loss: [lq, forward-that]}]"
    )
    made = as_json(
        "train", "--labels", tmp_path / "human.csv:worst", "--epochs", 1, "--loss", "lq", "--quiet"
    )
    succeed("sweep", path, "--quiet", "--jobs", 1)
    rows = Store.open(database).results()
    assert len(rows) == 6 and set(rows["status"]) == {"completed"}
    assert rows[rows["id"] == made["run"]]["noise"].tolist() == ["file(key=worst)"]


def test_files_of_corrupt_and_other_settings_are_no_labels_of_an_experiment(tmp_path: Path) -> None:
    write_human_labels(tmp_path)
    succeed("corrupt", "--out", tmp_path / "drawn.npz")
    path = tmp_path / "human.yaml"
    for block, message in {
        "labels: drawn.npz": "uniform",
        "labels: human.csv:medium": "best, worst",
        "labels: 'human.csv:best', rate: 0.1": "--rate",
        "labels: null": "labels",
    }.items():
        path.write_text(f"grid: [{{{block}}}]")
        with pytest.raises(DataError, match=message):
            load(str(path))

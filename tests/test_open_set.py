"""Open-set noise, with digits as their own open-set images or as those of Fashion-MNIST's shape."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import as_json, noisybench, succeed
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from noisybench import datasets
from noisybench.config import Config
from noisybench.datasets import Dataset
from noisybench.datasets.home import data_home
from noisybench.errors import DataError, InvalidValue, UnknownName
from noisybench.inputs import corrupt
from noisybench.labels.drawing import Corruption
from noisybench.labels.manifest import Manifest
from noisybench.labels.masks import Mask
from noisybench.labels.open_set import NO_CLASS, OWN, OpenSetImages, fitted
from noisybench.split import split

NOISE = "open-set(source=digits)"


def drawn(**values: Any) -> Corruption:
    config = Config.create(**{"noise": NOISE, "rate": 0.4, **values})
    return corrupt(config, datasets.load("digits"))


def origin(corruption: Corruption) -> Any:
    assert corruption.open_set is not None
    return corruption.open_set.origin


@given(seed=st.integers(0, 1000), rate=st.floats(0, 0.99))
def test_exact_draws_replace_a_share_of_every_class_and_keep_its_labels(seed: int, rate: float) -> None:
    labels = datasets.load("digits").train_labels
    noise = drawn(seed=seed, rate=rate, draws="exact")
    replaced = origin(noise) != OWN
    assert np.array_equal(noise.given, labels)
    for y in range(10):
        assert replaced[labels == y].sum() == round(rate * (labels == y).sum())


@given(seed=st.integers(0, 1000), rates=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)))
def test_more_noise_replaces_more_images_by_the_same_ones(seed: int, rates: tuple[float, float]) -> None:
    few, many = (drawn(seed=seed, rate=rate) for rate in sorted(rates))
    replaced = origin(few) != OWN
    assert np.array_equal(origin(few)[replaced], origin(many)[replaced])
    assert np.array_equal(few.given[replaced], many.given[replaced])
    own = origin(many) == OWN
    assert np.array_equal(many.given[own], datasets.load("digits").train_labels[own])


def test_independent_draws_are_what_they_say() -> None:
    """Over 40 seeds: the rate, and labels that do not depend on the class that was there."""
    labels = datasets.load("digits").train_labels
    noises = [drawn(seed=seed) for seed in range(40)]
    replaced = np.concatenate([origin(noise) != OWN for noise in noises])
    given, true = np.concatenate([noise.given for noise in noises]), np.tile(labels, 40)
    n = len(replaced)
    assert abs(replaced.mean() - 0.4) < 4 * np.sqrt(0.24 / n)
    shares = np.bincount(given[replaced], minlength=10) / replaced.sum()
    assert np.abs(shares - 0.1).max() < 4 * np.sqrt(0.09 / replaced.sum())
    assert abs((given == true)[replaced].mean() - 0.1) < 4 * np.sqrt(0.09 / replaced.sum())


def test_no_open_set_image_comes_twice_and_other_seeds_take_others() -> None:
    rows = origin(drawn())[origin(drawn()) != OWN]
    assert len(set(rows)) == len(rows) > 400
    assert set(rows) != set(origin(drawn(seed=1))[origin(drawn(seed=1)) != OWN])


def test_the_images_are_where_the_origin_says() -> None:
    digits = datasets.load("digits")
    open_set = drawn().open_set
    assert open_set is not None
    replaced = open_set.replace(digits)
    for row, source in enumerate(open_set.origin):
        expected = digits.train_images[row if source == OWN else source]
        assert np.array_equal(replaced.train_images[row], expected)
        assert replaced.train_labels[row] == (digits.train_labels[row] if source == OWN else NO_CLASS)
    assert replaced.test_images is digits.test_images
    files = open_set.source_index()
    assert np.array_equal(
        files[open_set.origin != OWN], digits.train_index[open_set.origin[open_set.origin != OWN]]
    )
    assert (files[open_set.origin == OWN] == OWN).all()


def test_the_hash_covers_the_images() -> None:
    a, b = drawn(draws="exact"), drawn(draws="exact", seed=1)
    assert np.array_equal(a.given, b.given) and a.sha256 != b.sha256 and not a.same(b)
    assert a.same(drawn(draws="exact"))


def test_images_are_made_to_fit() -> None:
    grey = np.linspace(0, 255, 64).astype(np.uint8).reshape(1, 8, 8, 1)
    colour = fitted(grey, (32, 32, 3))
    assert colour.shape == (1, 32, 32, 3) and colour.dtype == np.uint8
    assert np.array_equal(colour[..., 0], colour[..., 1]) and abs(colour.mean() - grey.mean()) < 2
    assert np.array_equal(
        fitted(np.full((2, 32, 32, 3), 77, np.uint8), (28, 28, 1)), np.full((2, 28, 28, 1), 77)
    )
    assert fitted(grey, (8, 8, 1)) is grey


def test_a_source_with_other_content_is_refused() -> None:
    noise = drawn().open_set
    assert noise is not None
    with pytest.raises(DataError, match="fingerprint 0123"):
        OpenSetImages(noise.source, "0123456789abcdef", noise.origin).replace(datasets.load("digits"))


def test_wrong_input() -> None:
    with pytest.raises(UnknownName, match="imagenet"):
        Config.create(noise="open-set(source=imagenet)")
    with pytest.raises(InvalidValue, match="forward-that"):
        Config.create(noise=NOISE, loss="forward-t")
    Config.create(noise=NOISE, loss="forward-that")
    with pytest.raises(InvalidValue, match=r"replace 1,\d{3} images.*digits has only 1,297"):
        many = replace(
            datasets.load("digits"),
            train_images=np.zeros((4000, 8, 8, 1), np.uint8),
            train_labels=np.zeros(4000, dtype=np.int64),
        )
        corrupt(Config.create(noise=NOISE, rate=0.5), many)
    result = noisybench("train", "--noise", "open-set", "--source", "cifar100")
    assert result.exit_code == 2 and "cifar100 is not prepared" in result.stderr


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "labels.npz"


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A data set of digits turned black for white: images of digits' shape, and no digits."""
    folder = tmp_path_factory.mktemp("strangers")
    images = 255 - datasets.load("digits").train_images[:500, :, :, 0]
    for number, image in enumerate(images):
        place = folder / ("test" if number % 7 == 0 else "train") / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number}.png")
    datasets.add_own("strangers", folder, datasets.OwnOptions(workers=1))
    return datasets.prepared("strangers").identity


OPTIONS = ("--noise", "open-set", "--source", "strangers", "--rate", 0.3, "--seed", 2)


def test_a_data_set_is_no_source_of_foreign_images_for_itself(tmp_path: Path, database: Path) -> None:
    """By its content: a copy under another name is the data set too."""
    folder = data_home() / "datasets"
    datasets.load("digits")
    shutil.copytree(folder / "digits", folder / "copy")
    meta = folder / "copy" / "meta.json"
    own = {"classes": list("0123456789"), "shape": [8, 8, 1], "protocol": {}, "n_validation": 0}
    own = {**own, "protocol": {"milestones": []}, "has_truth": False}
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "name": "copy", "own": own}))
    try:
        for source in ("digits", "copy"):
            for command in (("train",), ("train", "--dry-run"), ("corrupt", "--out", tmp_path / "x.npz")):
                result = noisybench(*command, "--noise", "open-set", "--source", source, "--rate", 0.3)
                assert result.exit_code == 2 and "--source" in result.stderr, result.output
        assert not list(tmp_path.iterdir())
    finally:
        shutil.rmtree(folder / "copy")


def test_corrupt_says_where_each_image_came_from(file: Path, strangers: str) -> None:
    said = as_json("corrupt", *OPTIONS, "--out", file)
    manifest = Manifest.read(file)
    manifest.fit(datasets.load("digits"))
    assert manifest.corruption.same(drawn(noise=f"open-set(source='{strangers}')", rate=0.3, seed=2))
    replaced = origin(manifest.corruption) != OWN
    assert said["open_set"]["n"] == replaced.sum() and said["open_set"]["source"] == strangers
    assert said["realised_rate"] == pytest.approx(replaced.mean())
    assert (manifest.clean[replaced] == NO_CLASS).all()
    arrays = np.load(file)
    source: Dataset = datasets.load(strangers)
    assert np.array_equal(arrays["origin_index"][replaced], source.train_index[arrays["origin"][replaced]])
    shown = succeed("corrupt", *OPTIONS, "--out", file)
    assert f"{replaced.sum():,} of the images are open-set images, from {strangers}" in shown


def test_a_damaged_file_is_refused(file: Path, strangers: str) -> None:
    succeed("corrupt", *OPTIONS, "--out", file)
    good = dict(np.load(file))
    clean = good["clean"].copy()
    clean[good["origin"] == OWN] = NO_CLASS
    for change in ({"origin": good["origin"][1:]}, {"origin": good["origin"] - 1}, {"clean": clean}):
        np.savez(file, **{**good, **change})
        with pytest.raises(DataError, match="labels.npz"):
            Manifest.read(file)


def test_a_run_on_open_set_images_from_the_file_is_the_run_from_the_options(
    file: Path, database: Path, strangers: str
) -> None:
    succeed("corrupt", *OPTIONS, "--out", file)
    brief = ("--epochs", 3, "--loss", "trunc-lq(q=0, k=0.12)", "--prune-from", 2, "--quiet")
    run = as_json("train", "--labels", file, *brief)["run"]
    assert as_json("train", *OPTIONS, *brief)["run"] == run
    pruned = as_json("prune", run, "--k", 0.12, "--out", file.with_name("mask.npz"))
    config = Config.create(noise=f"open-set(source='{strangers}')", rate=0.3, seed=2)
    noise, digits = corrupt(config, datasets.load("digits")), datasets.load("digits")
    rows = split(config, digits, noise.given).train
    dropped = ~Mask.read(file.with_name("mask.npz")).keep[rows]
    wrong = (origin(noise) != OWN)[rows]  # and no other label is wrong
    assert 0 < dropped.sum() == pruned["n_dropped"] < len(rows)
    assert pruned["recall"] == pytest.approx(dropped[wrong].mean())
    evaluated = as_json("evaluate", run, "--split", "train")
    assert 0 < evaluated["n"] < pruned["n_train"], "open-set images have no true label"
    again = as_json("train", "--keep", file.with_name("mask.npz"), "--epochs", 2, "--loss", "mae", "--quiet")
    assert again["n_train"] == pruned["n_kept"]

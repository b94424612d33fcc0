"""Files of labels that others publish are read in their place, and nothing in them is executed."""

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from commands import noisybench, succeed
from datasets_files import colour, write_tree

from noisybench import datasets
from noisybench.datasets import Dataset, OwnOptions
from noisybench.datasets.dataset import UNKNOWN
from noisybench.diagnosis import marks
from noisybench.errors import DataError
from noisybench.labels.label_file import LabelFile
from noisybench.labels.manifest import Manifest
from noisybench.labels.readers import placed_by, read_labels, read_order, split_key


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return datasets.load("digits")


@pytest.fixture
def clean(digits: Dataset) -> np.ndarray:
    """The true labels in the order of the source."""
    return digits.train_labels[np.argsort(digits.train_index)]


@pytest.fixture
def worse(clean: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(clean)) % 4 == 0, (clean + 1) % 10, clean)


def fits(file: LabelFile, digits: Dataset, expected: np.ndarray) -> None:
    assert np.array_equal(file.fit(digits).given[np.argsort(digits.train_index)], expected)


@pytest.mark.parametrize("made_by", [np.array, list, torch.tensor])
def test_a_mapping_of_torch_gives_the_labels_of_a_key(
    tmp_path: Path, digits: Dataset, clean: np.ndarray, worse: np.ndarray, made_by: Any
) -> None:
    path = tmp_path / "human.pt"
    content = {"clean_label": clean, "aggre_label": clean, "worse_label": worse}
    torch.save({name: made_by(labels.tolist()) for name, labels in content.items()}, path)
    file = read_labels(path, "worse_label", digits)
    fits(file, digits, worse)
    assert file.name == "worse_label" and file.fit(digits).rate == pytest.approx((clean != worse).mean())
    for key in ("", "worst"):
        with pytest.raises(DataError, match="clean_label, aggre_label, worse_label"):
            read_labels(path, key, digits)


def test_coarse_labels_have_clean_coarse_labels(tmp_path: Path, digits: Dataset, clean: np.ndarray) -> None:
    zeros = [0] * len(clean)
    content = {
        "clean_label": clean,
        "clean_coarse_label": zeros,
        "noisy_label": clean,
        "noisy_coarse_label": zeros,
    }
    torch.save(content, tmp_path / "human.pt")
    read = read_labels(tmp_path / "human.pt", "noisy_coarse_label", digits)
    assert read.clean is not None and not read.clean.any()


def test_a_bare_list_has_the_name_of_the_file(tmp_path: Path, digits: Dataset, worse: np.ndarray) -> None:
    torch.save(torch.tensor(worse), tmp_path / "a.pt")
    np.save(tmp_path / "a.npy", worse)
    (tmp_path / "a.json").write_text(json.dumps(worse.tolist()))
    for path in sorted(tmp_path.iterdir()):
        file = read_labels(path, "", digits)
        fits(file, digits, worse)
        assert file.name == "a" and file.clean is None
        with pytest.raises(DataError, match="no keys"):
            read_labels(path, "noisy", digits)


def test_a_pickled_mapping_in_npy_is_read_in_the_order_of_another_file(
    tmp_path: Path, digits: Dataset, clean: np.ndarray, worse: np.ndarray
) -> None:
    order = np.random.default_rng(0).permutation(len(clean))
    np.save(tmp_path / "order.npy", order)
    content = {"noise_label": worse[order], "clean_label": clean[order]}
    np.save(tmp_path / "ordered.npy", np.array(content, dtype=object))
    file = read_labels(tmp_path / "ordered.npy", "noise_label", digits)
    with pytest.raises(DataError, match="another order"):
        file.fit(digits)
    fits(replace(file, index=read_order(tmp_path / "order.npy")), digits, worse)


@pytest.mark.parametrize("order", [[0, 0], [1, 2], [[0, 1]], [0.0, 1.0], []])
def test_an_order_names_each_row_once(tmp_path: Path, order: list[Any]) -> None:
    np.save(tmp_path / "order.npy", np.array(order))
    with pytest.raises(DataError, match="is not an order"):
        read_order(tmp_path / "order.npy")


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet"])
def test_a_table_is_read_by_index_path_or_in_order(
    tmp_path: Path, digits: Dataset, clean: np.ndarray, worse: np.ndarray, ending: str
) -> None:
    def write(table: pd.DataFrame) -> Path:
        path = tmp_path / f"labels{ending}"
        if ending == ".parquet":
            table.to_parquet(path)
        else:
            table.to_csv(path, sep="\t" if ending == ".tsv" else ",", index=False)
        return path

    names = np.array(digits.classes)
    table = pd.DataFrame({"given": names[worse], "clean": names[clean]})
    fits(read_labels(write(table), "", digits), digits, worse)
    shuffled = table.assign(index=np.arange(len(clean))).sample(frac=1, random_state=0)
    fits(read_labels(write(shuffled), "", digits), digits, worse)
    paths = np.array([f"train/{i}.png" for i in digits.train_index], dtype=np.bytes_)
    own = replace(digits, train_paths=paths)
    by_path = table.assign(path=[f"train/{i}.png" for i in range(len(clean))]).sample(frac=1, random_state=1)
    fits(read_labels(write(by_path), "given", own), own, worse)
    with pytest.raises(DataError, match="no training image"):
        read_labels(write(by_path.assign(path="else.png")), "given", own)


def test_labels_of_another_order_are_doubted(
    tmp_path: Path, digits: Dataset, clean: np.ndarray, worse: np.ndarray
) -> None:
    said = {}
    for name, labels in {"right": worse, "other": np.random.default_rng(0).permutation(worse)}.items():
        np.save(tmp_path / f"{name}.npy", labels)
        said[name] = placed_by(read_labels(tmp_path / f"{name}.npy", "", digits), digits)
    assert "by chance" in said["other"] and "by chance" not in said["right"]


def test_labels_of_other_classes_or_another_number_are_answered_in_words(
    tmp_path: Path, digits: Dataset, worse: np.ndarray
) -> None:
    path = tmp_path / "labels.json"
    for wrong, message in (
        (worse[:-100].tolist(), "1,197 labels, but digits has 1,297"),
        ((worse + 1).tolist(), "count from 1"),
        ((worse - 1).tolist(), "has the labels 0 to 9"),
        (["cat"] * len(worse), "no class of digits"),
        ([[1, 2]], "one integer for each image"),
        ([0.5] * len(worse), "one integer for each image"),
        (7, "one integer for each image"),
        ({"noisy": None}, "one integer for each image"),
    ):
        path.write_text(json.dumps(wrong))
        with pytest.raises(DataError, match=message):
            read_labels(path, "", digits).fit(digits)


def folder_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """CIFAR-10 as it is prepared from a folder of images."""
    monkeypatch.setenv("NOISYBENCH_HOME", str(tmp_path / "home"))
    datasets.add("cifar10", write_tree(tmp_path / "tree", colour(400, 0), colour(20, 1)))
    return datasets.load("cifar10")


def test_labels_by_row_do_not_fit_what_a_folder_has_sorted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cifar = folder_set(tmp_path, monkeypatch)
    in_rows = cifar.train_labels[np.argsort(cifar.train_index)]
    published = np.random.default_rng(0).permutation(in_rows)
    np.save(tmp_path / "plc.npy", published)
    torch.save({"clean_label": published, "worse_label": (published + 1) % 10}, tmp_path / "human.pt")
    table = pd.DataFrame({"index": np.arange(400), "given": published})
    table.to_csv(tmp_path / "given.csv", index=False)
    for name in ("plc.npy", "human.pt", "given.csv"):
        with pytest.raises(DataError, match="ARCHIVE.*paths"):
            read_labels(tmp_path / name, "worse_label" if name == "human.pt" else "", cifar).fit(cifar)
    half_wrong = np.where(np.arange(400) % 2 == 0, in_rows, published)
    np.save(tmp_path / "own.npy", half_wrong)
    assert np.array_equal(
        read_labels(tmp_path / "own.npy", "", cifar).fit(cifar).given, half_wrong[cifar.train_index]
    )


def test_a_table_of_own_images_may_name_more_than_those_for_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images for testing, and those that could not be read, are in the table that the set came from."""
    monkeypatch.setenv("NOISYBENCH_HOME", str(tmp_path / "home"))
    write_tree(tmp_path / "images", colour(40, 0), colour(10, 1))
    names = [path.relative_to(tmp_path / "images") for path in sorted((tmp_path / "images").rglob("*.png"))]
    rows = [(f"./{p}", p.parts[0], 1 + i % 3, 1 + i % 2) for i, p in enumerate(names)]
    table = pd.DataFrame(rows, columns=["path", "split", "label", "second"])
    table.to_csv(tmp_path / "table.csv", index=False, sep=";")
    options = OwnOptions(root=tmp_path / "images", workers=1)
    datasets.add_own("mine", tmp_path / "table.csv", options)
    mine = datasets.load("mine")
    assert mine.classes == ("1", "2", "3")
    given = read_labels(tmp_path / "table.csv", "second", mine).fit(mine)
    assert mine.train_paths is not None
    second = {
        f"./{path.decode()}": mine.classes[label]
        for path, label in zip(mine.train_paths, given.given, strict=True)
    }
    assert second == {path: str(label) for path, split, _, label in rows if split == "train"}
    table[table["split"] == "test"].to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(DataError, match="no training image"):
        read_labels(tmp_path / "test.csv", "second", mine)
    table[1:].to_csv(tmp_path / "less.csv", index=False)
    complete = len(mine.train_labels)
    with pytest.raises(DataError, match=f"but mine@.* has {complete} training images"):
        frame = table[table["split"] == "train"][1:]
        frame.to_csv(tmp_path / "less.csv", index=False)
        read_labels(tmp_path / "less.csv", "second", mine).fit(mine)


@pytest.mark.parametrize("truth_in", ["set", "file", "both", "neither"])
def test_the_rate_of_labels_of_own_images_is_measured_where_the_truth_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, truth_in: str
) -> None:
    monkeypatch.setenv("NOISYBENCH_HOME", str(tmp_path / "home"))
    write_tree(tmp_path, colour(40, 0), colour(10, 1))
    names = [str(path.relative_to(tmp_path)) for path in sorted((tmp_path / "train").rglob("*.png"))]
    table = pd.DataFrame({"path": names, "clean_label": [name.split("/")[1] for name in names]})
    classes = sorted(set(table["clean_label"]))
    table["label"] = [classes[0] if i % 4 == 0 else y for i, y in enumerate(table["clean_label"])]
    table["human"] = [classes[1] if i % 2 == 0 else y for i, y in enumerate(table["clean_label"])]
    expected = (table["human"] != table["clean_label"]).mean()
    table.loc[0, "clean_label"] = ""
    known = table[1:]
    for name, has in (("set.csv", ("set", "both")), ("file.csv", ("file", "both"))):
        kept = table if truth_in in has else table.drop(columns="clean_label")
        kept.to_csv(tmp_path / name, index=False)
    datasets.add_own("mine", tmp_path / "set.csv", OwnOptions(test=tmp_path / "test", workers=1))
    mine = datasets.load("mine")
    file = read_labels(tmp_path / "file.csv", "human", mine)
    rate = file.fit(mine).rate
    expected = (known["human"] != known["clean_label"]).mean()
    assert rate is None if truth_in == "neither" else rate == pytest.approx(expected)
    if truth_in == "both":
        assert file.clean is not None
        with pytest.raises(DataError, match="true labels"):
            replace(file, clean=np.where(file.clean == 1, 2, file.clean)).fit(mine)


class Exploit:
    """Unpickling this would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_nothing_in_a_pickle_is_executed(tmp_path: Path, digits: Dataset) -> None:
    mark, bad = tmp_path / "executed", Exploit(tmp_path / "executed")
    torch.save({"noisy": bad}, tmp_path / "zip.pt")
    torch.save({"noisy": bad}, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(bad))
    np.save(tmp_path / "mapping.npy", np.array({"noisy": bad}, dtype=object))
    np.save(tmp_path / "list.npy", np.array([bad], dtype=object))
    for path in [p for p in tmp_path.iterdir() if p.suffix in (".pt", ".npy")]:
        with pytest.raises(DataError) as raised:
            read_labels(path, "noisy", digits)
        message = str(raised.value)
        assert str(path) in message and ".parquet" in message
        assert "weights_only" not in message and "allow_pickle" not in message
    assert not mark.exists()


@pytest.mark.parametrize("ending", [".pt", ".npy", ".json", ".csv", ".tsv", ".parquet", ".txt", ""])
@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff" * 50, b"PK\x03\x04", b"[" * 100_000, b"\x93NUMPY\x01\x00"]
)
def test_damage_is_answered_with_the_name_of_the_file(
    tmp_path: Path, digits: Dataset, ending: str, content: bytes
) -> None:
    path = tmp_path / f"labels{ending}"
    path.write_bytes(content)
    with pytest.raises(DataError, match="labels"):
        read_labels(path, "", digits)


def test_an_array_that_claims_more_than_the_file_is_refused_unread(tmp_path: Path, digits: Dataset) -> None:
    np.save(tmp_path / "labels.npy", np.arange(5))
    small = (tmp_path / "labels.npy").read_bytes()
    (tmp_path / "labels.npy").write_bytes(
        small.replace(b"(5,), }         ", b"(99999999999,), "[:12] + b" }  ")
    )
    with pytest.raises(DataError, match="damaged"):
        read_labels(tmp_path / "labels.npy", "", digits)


def test_a_key_follows_the_last_colon(tmp_path: Path) -> None:
    (tmp_path / "a:b.npy").touch()
    assert split_key("human.pt:worse_label") == (Path("human.pt"), "worse_label")
    assert split_key("human.pt") == (Path("human.pt"), "")
    assert split_key(str(tmp_path / "a:b.npy")) == (tmp_path / "a:b.npy", "")


@pytest.mark.parametrize("ending", [".csv", ".npy", ".json", ".pt"])
def test_what_corrupt_writes_for_others_is_read(tmp_path: Path, digits: Dataset, ending: str) -> None:
    path = tmp_path / f"labels{ending}"
    drawn = ("--dataset", "digits", "--rate", "0.4", "--seed", "3")
    succeed("corrupt", "--out", path, *drawn)
    succeed("corrupt", "--out", tmp_path / "labels.npz", *drawn)
    given = read_labels(path, "", digits).fit(digits)
    manifest = Manifest.read(tmp_path / "labels.npz")
    assert np.array_equal(given.given, manifest.noisy)
    assert given.rate == manifest.realised_rate


@pytest.mark.parametrize("ending", [".csv", ".npy", ".json", ".pt"])
def test_labels_of_own_images_are_those_of_the_training_part_of_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """Images for testing lie between them."""
    monkeypatch.setenv("NOISYBENCH_HOME", str(tmp_path / "home"))
    write_tree(tmp_path / "images", colour(40, 0), colour(10, 1))
    names = [path.relative_to(tmp_path / "images") for path in sorted((tmp_path / "images").rglob("*.png"))]
    names = names[::3] + names[1::3] + names[2::3]
    table = pd.DataFrame({"path": map(str, names), "label": [p.parts[1] for p in names]})
    table["split"] = [p.parts[0] for p in names]
    table.to_csv(tmp_path / "table.csv", index=False)
    datasets.add_own("mine", tmp_path / "table.csv", OwnOptions(root=tmp_path / "images", workers=1))
    path = tmp_path / f"labels{ending}"
    succeed("corrupt", "--out", path, "--dataset", "mine", "--rate", 0.4)
    succeed("corrupt", "--out", tmp_path / "labels.npz", "--dataset", "mine", "--rate", 0.4)
    mine, manifest = datasets.load("mine"), Manifest.read(tmp_path / "labels.npz")
    file = read_labels(path, "noisy_label" if ending == ".pt" else "", mine)
    assert np.array_equal(file.fit(mine).given, manifest.noisy)
    if ending == ".csv":
        written = pd.read_csv(path)
        assert written["path"].tolist() == table["path"][table["split"] == "train"].tolist()


def test_training_on_a_published_file_says_how_its_order_is_known(
    tmp_path: Path, clean: np.ndarray, worse: np.ndarray
) -> None:
    order = np.random.default_rng(0).permutation(len(clean))
    np.save(tmp_path / "order.npy", order)
    labels = {"clean_label": clean[order], "aggre_label": clean[order], "worse_label": worse[order]}
    torch.save(labels, tmp_path / "human.pt")
    np.save(tmp_path / "worse.npy", worse)
    command = (
        "train",
        "--epochs",
        1,
        "--train-size",
        300,
        "--db",
        tmp_path / "runs.db",
        "--quiet",
        "--labels",
    )
    by_key = f"{tmp_path / 'human.pt'}:worse_label"
    assert noisybench(*command, by_key).exit_code == 2
    done = noisybench(*command, by_key, "--label-order", tmp_path / "order.npy")
    assert done.exit_code == 0 and "order is right" in done.stderr and "file(key=worse_label)" in done.stdout
    assert "assumed" in noisybench(*command, tmp_path / "worse.npy").stderr
    assert noisybench("train", "--label-order", tmp_path / "order.npy").exit_code == 2


def test_names_that_are_numbers_are_not_taken_for_numbers(tmp_path: Path, digits: Dataset) -> None:
    counted = replace(digits, classes=tuple(str(number) for number in range(1, 11)))
    path = tmp_path / "labels.csv"
    path.write_bytes(marks.as_csv(digits.train_labels, counted))
    by_name = read_labels(path, "", counted).fit(counted).given
    path.write_bytes(marks.as_csv(digits.train_labels, digits))  # 0 to 9, and so numbers
    by_number = read_labels(path, "", counted).fit(counted).given
    assert np.array_equal(by_name, digits.train_labels) and np.array_equal(by_number, digits.train_labels)
    true = ["", "10", *map(str, digits.train_labels[2:] + 1)]
    table = {"source_index": digits.train_index, "label": digits.train_labels + 1, "clean_label": true}
    pd.DataFrame(table).to_csv(tmp_path / "true.csv", index=False)
    read = read_labels(tmp_path / "true.csv", "", counted)
    assert read.clean is not None and read.clean[:3].tolist() == [UNKNOWN, 9, digits.train_labels[2]]
    path.write_text(path.read_text().replace(",0\n", ",10\n"))
    with pytest.raises(DataError, match="no class"):
        read_labels(path, "", replace(counted, classes=(*counted.classes[:9], "11")))

"""The file of noisy labels: written whole, read back exactly, refused if it is not what it claims."""

import json
import os
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import noisybench
from noisybench import datasets
from noisybench.errors import DataError
from noisybench.labels import npz
from noisybench.labels.drawing import labels_sha256
from noisybench.labels.manifest import FORMAT, Manifest

CLASSES = ("cat", "dog", "Füchse")


def a_manifest() -> Manifest:
    return Manifest(
        dataset="animals",
        fingerprint="ab" * 32,
        classes=CLASSES,
        noise="class-dependent(map='cat>dog')",
        rate=0.1,
        draws="independent",
        seed=2**32 - 1,
        transition=np.array([[0.9, 0.1, 0], [0, 1, 0], [1 / 3, 1 / 3, 1 / 3]]),
        clean=np.array([0, 1, 2, 0, 1]),
        noisy=np.array([0, 1, 0, 1, 1]),
        index=np.array([4, 2, 0, 1, 3]),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "labels.npz"
    npz.write(path, a_manifest().encode())
    return path


def rewrite(path: Path, metadata: dict[str, Any] | None = None, **arrays: Any) -> None:
    """Change some of the file's content; None removes."""
    with np.load(path) as file:
        content = {name: file[name] for name in file.files}
    described = {**json.loads(str(content.pop("metadata"))), **(metadata or {})}
    kept = {name: value for name, value in {**content, **arrays}.items() if value is not None}
    text = json.dumps({key: value for key, value in described.items() if value is not None})
    np.savez(path, metadata=np.array(text), **kept)


def test_what_is_written_is_read(path: Path) -> None:
    written, read = a_manifest(), Manifest.read(path)
    for name, value in vars(written).items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(getattr(read, name), value) and getattr(read, name).dtype == value.dtype
        else:
            assert getattr(read, name) == value
    assert read.version == noisybench.__version__
    assert read.realised_rate == 0.4
    assert read.sha256 == labels_sha256(written.noisy)


def test_numpy_and_json_are_all_it_takes_to_read(path: Path) -> None:
    with np.load(path, allow_pickle=False) as file:
        assert set(file.files) == {"clean", "noisy", "index", "transition", "metadata"}
        metadata = json.loads(str(file["metadata"]))
    assert metadata["classes"] == list(CLASSES) and metadata["format"] == FORMAT
    assert metadata["sha256"] == labels_sha256(a_manifest().noisy)


def test_the_same_labels_are_the_same_bytes(path: Path) -> None:
    assert a_manifest().encode() == path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}


def test_others_may_read_the_file(path: Path) -> None:
    reference = path.with_name("reference")
    reference.touch()
    assert path.stat().st_mode == reference.stat().st_mode


# Writing


def test_who_is_reading_the_old_file_reads_it_to_the_end(path: Path) -> None:
    before = path.read_bytes()
    with path.open("rb") as file:
        npz.write(path, replace(a_manifest(), seed=1).encode())
        assert file.read() == before
    assert path.read_bytes() != before


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="labels.npz cannot be written: there is no folder .*missing. Make"):
        npz.write(tmp_path / "missing" / "labels.npz", a_manifest().encode())
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_way_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written: Is a directory"):
        (tmp_path / "labels.npz").mkdir()
        npz.write(tmp_path / "labels.npz", a_manifest().encode())
    assert [entry.name for entry in tmp_path.iterdir()] == ["labels.npz"]


@pytest.mark.parametrize("stop", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_is_cut_off_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    before = path.read_bytes()

    def cut_off(descriptor: int) -> None:
        raise stop

    monkeypatch.setattr(os, "fsync", cut_off)
    with pytest.raises(DataError if isinstance(stop, OSError) else KeyboardInterrupt):
        npz.write(path, replace(a_manifest(), seed=1).encode())
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


# Reading


def refused(path: Path, message: str) -> None:
    with pytest.raises(DataError) as raised:
        Manifest.read(path)
    assert str(path) in str(raised.value)
    assert message in str(raised.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    refused(tmp_path / "labels.npz", "There is no file")
    refused(tmp_path, "is not a file of noisy labels")


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"PK\x03\x04" + bytes(30), b"clean,noisy\n0,1\n", b"\x80\x04."]
)
def test_another_kind_of_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused(path, "is not a file of noisy labels written by `noisybench corrupt`")


def test_a_single_array_is_refused(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.arange(5))
    refused(path, "is not a file of noisy labels")


def test_a_truncated_or_damaged_file_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        refused(path, "is not a file of noisy labels")
    for place in range(0, len(whole), 53):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read = Manifest.read(path)
        except DataError as error:
            assert str(path) in str(error)
        else:  # a byte that means nothing, such as one of the zip directory's permissions
            assert read.sha256 == a_manifest().sha256 and np.array_equal(read.clean, a_manifest().clean)


def test_an_array_that_claims_to_be_huge_is_refused(path: Path) -> None:
    small = path.read_bytes()
    header = small[small.index(b"{'descr': '<i8'") :].partition(b"}")[0]
    huge = header.replace(b"(5,)", b"(99999999999999999,)")
    with zipfile.ZipFile(path, "w") as archive:
        text = huge.ljust(117) + b"}\n"
        archive.writestr("clean.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    refused(path, "is not a file of noisy labels")


@pytest.mark.parametrize(
    "header",
    [b"(" * 5000, b"{'descr': ('<i8', " * 30, b"{'descr': '<i8'", b"'" * 3, b"{'descr': [[[]]]}", b"\\"],
)
def test_a_header_that_is_no_python_is_refused(path: Path, header: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        text = header + b"\n"
        archive.writestr("clean.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    refused(path, "is not a file of noisy labels")


def test_raw_members_and_foreign_compression_are_refused(path: Path) -> None:
    for compression in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("clean", bytes(1000))
        whole = path.read_bytes()
        refused(path, "is not a file of noisy labels")
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
            refused(path, str(path))


def test_a_file_that_unpacks_to_gigabytes_is_refused_unread(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("clean.npy", bytes(1000))
    packed, claimed = path.read_bytes(), (2 * 10**9).to_bytes(4, "little")
    place = packed.rindex(b"PK\x01\x02") + 24  # the size in the zip directory
    path.write_bytes(packed[:place] + claimed + packed[place + 4 :])
    refused(path, "unpacks to 2,000,000,000 bytes")


class Exploit:
    """Unpickling this would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_pickles_are_never_executed(path: Path) -> None:
    mark = path.with_name("executed")
    rewrite(path, noisy=np.array([Exploit(mark)] * 5, dtype=object))
    refused(path, "is not a file of noisy labels")
    path.write_bytes(pickle.dumps(Exploit(mark)))
    refused(path, "is not a file of noisy labels")
    assert not mark.exists()


@pytest.mark.parametrize("name", ["clean", "noisy", "index", "transition"])
def test_a_missing_array_is_named(path: Path, name: str) -> None:
    rewrite(path, **{name: None})
    refused(path, f"it has no '{name}'")


@pytest.mark.parametrize(
    "name", ["noisybench", "fingerprint", "classes", "sha256", "dataset", "noise", "rate", "draws", "seed"]
)
def test_missing_metadata_is_named(path: Path, name: str) -> None:
    rewrite(path, {name: None})
    refused(path, f"it has no '{name}'")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"noisy": np.array([0, 1, 0, 1, 1], dtype=np.int32)}, "its noisy is int32 (5,), but must be int64"),
        ({"noisy": np.array([0.0, 1, 0, 1, 1])}, "its noisy is float64"),
        ({"noisy": np.array([0, 1, 0, 1])}, "its noisy is int64 (4,), but must be int64, long as clean"),
        ({"index": np.zeros((5, 1), dtype=np.int64)}, "its index is int64 (5, 1)"),
        ({"clean": np.array(3)}, "its clean is int64 ()"),
        ({"noisy": np.array([0, 1, 3, 1, 1])}, "one of its noisy labels is 3, but there are 3 classes"),
        ({"clean": np.array([0, -1, 3, 1, 1])}, "one of its clean labels is -1"),
        ({"transition": np.eye(2)}, "its transition is float64 (2, 2), but must be float64 (3, 3)"),
        ({"transition": np.eye(3, dtype=np.float32)}, "its transition is float32"),
        ({"transition": np.array([[1.5, -0.5, 0], [0, 1, 0], [0, 0, 1]])}, "are not probabilities"),
        ({"transition": np.eye(3) * 2}, "the rows of its transition are not probabilities"),
        ({"transition": np.full((3, 3), np.nan)}, "the rows of its transition are not probabilities"),
        ({"noisy": np.array([0, 1, 0, 1, 2])}, "its noisy labels do not have the hash that it states"),
    ],
)
def test_wrong_arrays_are_refused(path: Path, arrays: dict[str, Any], message: str) -> None:
    rewrite(path, **arrays)
    refused(path, message)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"rate": 1.5}, "rate is 1.5, but must be a number, at least 0 and below 1"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"seed": "x"}, "seed is 'x'"),
        ({"draws": "many"}, "draws is 'many'"),
        ({"classes": "cat"}, "its classes are not a list of names"),
        ({"classes": [1, 2, 3]}, "its classes are not a list of names"),
        ({"format": FORMAT + 1}, f"has format {FORMAT + 1}, but this noisybench reads only up to {FORMAT}"),
    ],
)
def test_wrong_metadata_is_refused(path: Path, metadata: dict[str, Any], message: str) -> None:
    rewrite(path, metadata)
    refused(path, message)


def test_metadata_that_is_no_object_is_refused(path: Path) -> None:
    for text in ("[]", "{", "", "3", "[" * 100_000):
        np.savez(path, metadata=np.array(text))
        refused(path, "is not a file of noisy labels")


# Fitting a data set


def test_labels_fit_their_data_set_and_no_other() -> None:
    digits = datasets.load("digits")
    mine = replace(
        a_manifest(),
        dataset=digits.name,
        fingerprint=digits.fingerprint,
        classes=digits.classes,
        clean=digits.train_labels,
        noisy=digits.train_labels,
        index=digits.train_index,
    )
    mine.fit(digits)
    for other in (
        replace(mine, fingerprint="cd" * 32),
        replace(mine, clean=mine.clean[:-1]),
        replace(mine, clean=(mine.clean + 1) % 10),
    ):
        with pytest.raises(DataError, match="The labels were drawn for digits .*and do not fit digits"):
            other.fit(digits)

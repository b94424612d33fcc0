"""Makers of small data sets in every layout that `noisybench data add` reads."""

import gzip
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from noisybench.registry import DATASETS

CLASSES = DATASETS["cifar10"].metadata.classes
CLOTHES = DATASETS["fashion-mnist"].metadata.classes
Arrays = tuple[np.ndarray, np.ndarray]


def colour(n: int, seed: int, n_classes: int = 10) -> Arrays:
    """n random images of 32×32×3, ordered by class, every class among them."""
    images = np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), np.uint8)
    return images, np.arange(n) * n_classes // n


def grey(n: int, seed: int) -> Arrays:
    images, labels = colour(n, seed)
    return images[:, :28, :28, :1], labels


def in_files(arrays: Arrays, n_files: int) -> list[Arrays]:
    return list(zip(*(np.array_split(a, n_files) for a in arrays), strict=True))


def rows_of(images: np.ndarray) -> np.ndarray:
    """CIFAR's rows: one channel after the other."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)


def python2_pickle(arrays: Arrays, label_key: str = "labels") -> bytes:
    """The bytes that Python 2's cPickle wrote for CIFAR's batches, opcode by opcode."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<I", len(value)) + value

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    images, labels = arrays
    rows = rows_of(images)
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN" + number(-1) + number(-1) + b"K\x00tb"
    shape = number(rows.shape[0]) + number(rows.shape[1]) + b"\x86"
    array = empty + b"(K\x01" + shape + dtype + b"\x89" + text(rows.tobytes()) + b"tb"
    listed = b"](" + b"".join(number(int(label)) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(label_key.encode()) + listed + b"u."


def python3_pickle(protocol: int) -> Callable[[Arrays], bytes]:
    def dump(arrays: Arrays) -> bytes:
        return pickle.dumps({"data": rows_of(arrays[0]), "labels": arrays[1].tolist()}, protocol)

    return dump


def write_batches(root: Path, train: Arrays, test: Arrays, dump: Callable = python2_pickle) -> Path:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for number, arrays in enumerate(in_files(train, 5), start=1):
        (folder / f"data_batch_{number}").write_bytes(dump(arrays))
    (folder / "test_batch").write_bytes(dump(test))
    return folder


def write_archive(root: Path, train: Arrays, test: Arrays, mode: str = "w:gz") -> Path:
    folder = write_batches(root / "unpacked", train, test)
    with tarfile.open(root / "cifar-10-python.tar.gz", mode) as archive:
        archive.add(folder, arcname=folder.name)
    return root / "cifar-10-python.tar.gz"


def write_tree(root: Path, train: Arrays, test: Arrays, names: tuple[str, ...] = CLASSES) -> Path:
    for part, (images, labels) in (("train", train), ("test", test)):
        for row, (image, label) in enumerate(zip(images, labels, strict=True)):
            folder = root / part / names[label].replace("/", "_")
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.squeeze()).save(folder / f"{row:05d}.png")
    return root


def write_idx(root: Path, train: Arrays, test: Arrays, suffix: str = ".gz") -> Path:
    root.mkdir(parents=True)
    for part, (images, labels) in (("train", train), ("t10k", test)):
        for kind, array in (("images-idx3", images.squeeze(-1)), ("labels-idx1", labels.astype(np.uint8))):
            data = struct.pack(f">{array.ndim + 1}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()
            path = root / f"{part}-{kind}-ubyte{suffix}"
            path.write_bytes(gzip.compress(data) if suffix else data)
    return root

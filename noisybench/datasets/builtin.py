"""The built-in data sets: what is known of each, and where its images come from.

A data set is one function that reads its images from the user's files or, given none, fetches them.
What is registered with it:

    classes      class names, in the order of the labels
    flips        class-dependent noise: which class is mistaken for which; empty: i for i+1, circular
    shape        height, width and channels of an image
    counts       images for training and for testing
    fingerprint  that of the canonical content (see dataset.py)
    protocol     how to train on it, by the fields of Config
    embedded     whether it is there without a download
"""

from pathlib import Path
from typing import TYPE_CHECKING

from noisybench.datasets.cifar100_names import CIFAR100_NAMES
from noisybench.registry import DATASETS

if TYPE_CHECKING:
    from noisybench.datasets.dataset import Shape
    from noisybench.datasets.sources import Parts

# The readers import NumPy and Pillow: each data set imports its own when it is read, so that the
# names are listed at once.


@DATASETS.register(
    "digits",
    classes=("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
    flips={},
    shape=(8, 8, 1),
    counts=(1297, 500),
    fingerprint="c592931581fed6a0e7bcdbd957837c9fc4916e52246359fa8c2f47a4d4ad48a1",
    protocol={
        "model": "mlp",
        "epochs": 20,
        "batch_size": 32,
        "lr": 0.1,
        "milestones": (8, 14),
        "augment": "none",
        # As in the paper, from the first milestone on.
        "prune_from": 8,
        "prune_every": 2,
    },
    embedded=True,
)
def digits(source: Path | None, *, classes: tuple[str, ...], shape: "Shape") -> "Parts":
    """Handwritten digits, 8×8 grey, that come with scikit-learn (Alpaydin & Kaynak 1998)."""
    from noisybench.datasets.digits import read_digits

    return read_digits(source, classes, shape)


@DATASETS.register(
    "fashion-mnist",
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    flips={
        "Ankle boot": "Sneaker",
        "Sneaker": "Sandal",
        "Pullover": "Shirt",
        "Coat": "Dress",
        "Dress": "Coat",
    },
    shape=(28, 28, 1),
    counts=(60_000, 10_000),
    fingerprint="f184ab3b079aa303058091b9f2597377e739e4f2fe2a973d392b8f460382af14",
    protocol={
        "model": "resnet18",
        "epochs": 120,
        "batch_size": 128,
        "lr": 0.01,
        "milestones": (40, 80),
        "augment": "flip-crop",
        "prune_from": 40,
        "prune_every": 10,
    },
    embedded=False,
)
def fashion_mnist(source: Path | None, *, classes: tuple[str, ...], shape: "Shape") -> "Parts":
    """Articles of clothing, 28×28 grey (Xiao et al. 2017)."""
    from noisybench.datasets import sources
    from noisybench.datasets.idx import IdxFiles
    from noisybench.datasets.tree import ImageTree

    return sources.read(
        source,
        "FashionMNIST",
        IdxFiles("FashionMNIST/raw", classes, shape),
        ImageTree(classes, shape),
    )


@DATASETS.register(
    "cifar10",
    classes=(
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
    flips={
        "truck": "automobile",
        "bird": "airplane",
        "deer": "horse",
        "cat": "dog",
        "dog": "cat",
    },
    shape=(32, 32, 3),
    counts=(50_000, 10_000),
    fingerprint="b4902cad640c03136dc45d1464316e35771b05ce8a505a6b09ac7e6343334a03",
    protocol={
        "model": "resnet34",
        "epochs": 120,
        "batch_size": 128,
        "lr": 0.01,
        "milestones": (40, 80),
        "augment": "flip-crop",
        "prune_from": 40,
        "prune_every": 10,
    },
    embedded=False,
)
def cifar10(source: Path | None, *, classes: tuple[str, ...], shape: "Shape") -> "Parts":
    """Photographs of animals and vehicles, 32×32 colour, 10 classes (Krizhevsky 2009)."""
    from noisybench.datasets import sources
    from noisybench.datasets.cifar import CifarBatches
    from noisybench.datasets.tree import ImageTree

    return sources.read(
        source,
        "CIFAR10",
        CifarBatches(
            folder="cifar-10-batches-py",
            archive="cifar-10-python.tar.gz",
            train=("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"),
            test=("test_batch",),
            label_key="labels",
            classes=classes,
            shape=shape,
        ),
        ImageTree(classes, shape),
    )


@DATASETS.register(
    "cifar100",
    classes=CIFAR100_NAMES,
    flips={},
    shape=(32, 32, 3),
    counts=(50_000, 10_000),
    fingerprint="200c5bbff6c4e45e5f6691dd94779fd54662deec3c17913a109e9c16c7189ea5",
    protocol={
        "model": "resnet34",
        "epochs": 150,
        "batch_size": 128,
        "lr": 0.01,
        "milestones": (80, 120),
        "augment": "flip-crop",
        "prune_from": 80,
        "prune_every": 10,
    },
    embedded=False,
)
def cifar100(source: Path | None, *, classes: tuple[str, ...], shape: "Shape") -> "Parts":
    """Photographs of things and creatures, 32×32 colour, 100 classes (Krizhevsky 2009)."""
    from noisybench.datasets import sources
    from noisybench.datasets.cifar import CifarBatches
    from noisybench.datasets.tree import ImageTree

    return sources.read(
        source,
        "CIFAR100",
        CifarBatches(
            folder="cifar-100-python",
            archive="cifar-100-python.tar.gz",
            train=("train",),
            test=("test",),
            label_key="fine_labels",
            classes=classes,
            shape=shape,
        ),
        ImageTree(classes, shape),
    )

"""The built-in data sets: what is known of each, and where its images come from.

A data set is one function that reads its images from the user's files or, given none, fetches them.
`DatasetInfo` says what is registered with it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisybench.registry import DATASETS

if TYPE_CHECKING:
    from noisybench.datasets.dataset import Shape
    from noisybench.datasets.published import Parts

# The readers import NumPy and Pillow: each data set imports its own when it is read, so that the
# names are listed at once.

CIFAR10_NAMES = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())

# The fine classes, in the order of their labels.
CIFAR100_NAMES = tuple(
    """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
    camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
    dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
    leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange
    orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit
    raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel
    streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip
    turtle wardrobe whale willow_tree wolf woman worm
    """.split()
)


def published_protocol(model: str, epochs: int, first: int, second: int) -> dict[str, Any]:
    """How Zhang & Sabuncu 2018 train (section 4.2): pruning begins at the first milestone."""
    return {
        "model": model,
        "epochs": epochs,
        "batch_size": 128,
        "lr": 0.01,
        "milestones": (first, second),
        "augment": "flip-crop",
        "prune_from": first,
        "prune_every": 10,
    }


@DATASETS.register(
    "digits",
    classes=tuple("0123456789"),
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
    from noisybench.datasets.published import read_digits

    return read_digits(source, classes, shape)


@DATASETS.register(
    "fashion-mnist",
    classes=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
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
    protocol=published_protocol("resnet18", 120, 40, 80),
)
def fashion_mnist(source: Path | None, *, classes: tuple[str, ...], shape: "Shape") -> "Parts":
    """Articles of clothing, 28×28 grey (Xiao et al. 2017)."""
    from noisybench.datasets.published import IdxFiles, read

    return read(source, "FashionMNIST", IdxFiles(classes, shape, folder="FashionMNIST/raw"))


@DATASETS.register(
    "cifar10",
    classes=CIFAR10_NAMES,
    flips={"truck": "automobile", "bird": "airplane", "deer": "horse", "cat": "dog", "dog": "cat"},
    shape=(32, 32, 3),
    counts=(50_000, 10_000),
    fingerprint="b4902cad640c03136dc45d1464316e35771b05ce8a505a6b09ac7e6343334a03",
    protocol=published_protocol("resnet34", 120, 40, 80),
)
def cifar10(source: Path | None, *, classes: tuple[str, ...], shape: "Shape") -> "Parts":
    """Photographs of animals and vehicles, 32×32 colour, 10 classes (Krizhevsky 2009)."""
    from noisybench.datasets.cifar import CifarBatches
    from noisybench.datasets.published import read

    batches = CifarBatches(
        classes,
        shape,
        folder="cifar-10-batches-py",
        archive="cifar-10-python.tar.gz",
        train=("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"),
        test=("test_batch",),
        label_key="labels",
    )
    return read(source, "CIFAR10", batches)


@DATASETS.register(
    "cifar100",
    classes=CIFAR100_NAMES,
    flips={},
    shape=(32, 32, 3),
    counts=(50_000, 10_000),
    fingerprint="200c5bbff6c4e45e5f6691dd94779fd54662deec3c17913a109e9c16c7189ea5",
    protocol=published_protocol("resnet34", 150, 80, 120),
)
def cifar100(source: Path | None, *, classes: tuple[str, ...], shape: "Shape") -> "Parts":
    """Photographs of things and creatures, 32×32 colour, 100 classes (Krizhevsky 2009)."""
    from noisybench.datasets.cifar import CifarBatches
    from noisybench.datasets.published import read

    batches = CifarBatches(
        classes,
        shape,
        folder="cifar-100-python",
        archive="cifar-100-python.tar.gz",
        train=("train",),
        test=("test",),
        label_key="fine_labels",
    )
    return read(source, "CIFAR100", batches)

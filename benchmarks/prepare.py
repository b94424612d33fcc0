"""Preparing a user's image files, against reading them all by torchvision's ImageFolder and a DataLoader."""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.data import cifar10
from benchmarks.timing import Row, compare

N, SIZE, WORKERS, ROUNDS = 10_000, 64, 2, 3


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        source = write_files(Path(folder, "images"), N)
        before = os.environ.get("NOISYBENCH_HOME")
        os.environ["NOISYBENCH_HOME"] = str(Path(folder, "home"))
        try:
            row = compare(
                f"{N:,} JPEG files of {SIZE}×{SIZE}, to uint8 on the disk",
                lambda: ours(source),
                f"ImageFolder, DataLoader, {WORKERS} workers: to tensors, once",
                lambda: theirs(source),
                ROUNDS,
                count=N,
                unit="images",
            )
        finally:
            os.environ.pop("NOISYBENCH_HOME")
            if before is not None:
                os.environ["NOISYBENCH_HOME"] = before
    return [row]


def write_files(root: Path, n: int) -> Path:
    """n images of CIFAR-10, enlarged, in a folder for each class; each differs from the others."""
    dataset = cifar10()
    for number in range(n):
        folder = root / dataset.classes[dataset.train_labels[number % len(dataset.train_labels)]]
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(np.asarray(dataset.train_images[number % len(dataset.train_images)]))
        image.resize((SIZE, SIZE)).rotate(number // 50_000 * 7).save(folder / f"{number}.jpg", quality=90)
    return root


def ours(source: Path) -> None:
    from noisybench import datasets

    datasets.add_own("measured", source, datasets.OwnOptions(workers=WORKERS))


def theirs(source: Path) -> None:
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    steps = [transforms.Resize(SIZE), transforms.CenterCrop(SIZE), transforms.PILToTensor()]
    images = ImageFolder(str(source), transforms.Compose(steps))
    for _ in DataLoader(images, batch_size=128, num_workers=WORKERS):
        pass


def main() -> None:
    """Prepare as many images as the first argument says, and print the time and the largest memory."""
    import resource
    import sys
    import time

    with tempfile.TemporaryDirectory() as folder:
        source = write_files(Path(folder, "images"), int(sys.argv[1]))
        os.environ["NOISYBENCH_HOME"] = str(Path(folder, "home"))
        start = time.perf_counter()
        ours(source)
        seconds = time.perf_counter() - start
        peaks = [
            resource.getrusage(who).ru_maxrss / 1024
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        print(
            f"{sys.argv[1]} images: {seconds:.1f} s; at most {peaks[0]:.0f} MB here, {peaks[1]:.0f} a worker"
        )
        shutil.rmtree(Path(folder, "home"))


if __name__ == "__main__":
    main()

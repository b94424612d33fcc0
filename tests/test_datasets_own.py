"""A user's own images: what is found, what is refused, and what a run sees of them."""

import csv
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import as_json, noisybench
from PIL import Image

from noisybench import datasets
from noisybench.config import Config
from noisybench.datasets import Columns, OwnOptions
from noisybench.errors import DataError, InvalidValue
from noisybench.registry import DATASETS
from noisybench.split import split


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NOISYBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def picture(seed: int, size: tuple[int, int] = (16, 16), mode: str = "RGB") -> Image.Image:
    channels = {"RGB": (3,), "L": (), "RGBA": (4,), "CMYK": (4,)}[mode]
    random = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], *channels), np.uint8)
    return Image.fromarray(random, mode)


def write_folder(
    root: Path, parts: tuple[str, ...] = ("train", "test"), classes: tuple[str, ...] = ("1", "10", "2")
) -> Path:
    """Four images of each class in each part; a part "" is a flat folder."""
    seed = 0
    for part in parts:
        for name in classes:
            (root / part / name).mkdir(parents=True)
            for number in range(4):
                seed += 1
                picture(seed).save(root / part / name / f"{number}.png")
    return root


def add(source: Path, **options: object) -> datasets.Dataset:
    datasets.add_own("mine", source, OwnOptions(**options))  # type: ignore[arg-type]
    datasets.verify("mine")
    return datasets.load("mine")


def test_classes_go_in_natural_order_and_labels_by_them(tmp_path: Path) -> None:
    mine = add(write_folder(tmp_path / "own"))
    assert mine.classes == ("1", "2", "10")
    assert mine.shape == (16, 16, 3)
    assert mine.train_paths is not None
    for image, label, path in zip(mine.train_images, mine.train_labels, mine.train_paths, strict=True):
        file = tmp_path / "own" / path.decode()
        assert file.parent.name == mine.classes[label]
        np.testing.assert_array_equal(image, np.asarray(Image.open(file)))


def test_an_own_set_is_a_data_set_to_config_and_registry(tmp_path: Path) -> None:
    mine = add(write_folder(tmp_path / "own"))
    assert mine.name == f"mine@{mine.fingerprint[:12]}"
    assert DATASETS["mine"].metadata.counts == (12, 12)
    config = Config.create(dataset=mine.name)
    assert (config.dataset, config.rate, config.model) == (mine.name, 0, "resnet18(width=64)")
    assert Config.create(dataset="mine", rate=0.2, epochs=3).rate == 0.2
    datasets.remove("mine")
    assert "mine" not in [entry.name for entry in DATASETS]


def test_names_are_safe_and_not_those_of_built_in_sets(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "own")
    for name in ("../x", "/tmp/x", "", "Mine", "a/b", "-x", "cifar10", "a" * 65, "x@y", "."):
        with pytest.raises(InvalidValue):
            datasets.add_own(name, source, OwnOptions())


def test_the_pixels_are_those_of_torchvisions_resize_and_centre_crop(tmp_path: Path) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    for number, size in enumerate([(40, 31), (31, 40), (16, 90), (9, 9), (24, 24), (12, 5)]):
        folder = tmp_path / "own" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        picture(number, size).save(folder / f"{number}.png")
    mine = add(tmp_path / "own", image_size=24)
    theirs = transforms.Compose([transforms.Resize(24), transforms.CenterCrop(24)])
    assert mine.train_paths is not None
    for image, path in zip(mine.train_images, mine.train_paths, strict=True):
        with Image.open(tmp_path / "own" / path.decode()) as opened:
            np.testing.assert_array_equal(image, np.asarray(theirs(opened.convert("RGB"))))


def plant(root: Path) -> dict[str, str]:
    """Files with something wrong by path, and a word of the cause that must be said."""
    cat = root / "train" / "2"
    good = (cat / "0.png").read_bytes()
    planted: dict[str, str] = {}

    def put(name: str, content: bytes | Image.Image | None, word: str, **options: object) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Image.Image):
            content.save(path, **options)  # type: ignore[arg-type]
        elif content is not None:
            path.write_bytes(content)
        planted[str(path)] = word

    put("train/2/zero.png", b"", "0 bytes")
    put("train/2/cut.png", good[: len(good) // 2], "damaged")
    put("train/2/notes.txt", b"text", "not an image")
    put("train/2/gif.jpg", picture(101), "GIF", format="GIF")
    put("train/2/alpha.png", picture(102, mode="RGBA"), "transparent")
    put("train/2/palette.png", picture(103).convert("P"), "palette")
    put("train/2/deep.png", Image.fromarray(np.full((16, 16), 40_000, np.uint16)), "16 bits")
    put("train/2/print.jpg", picture(104, mode="CMYK"), "CMYK")
    exif = Image.Exif()
    exif[0x0112] = 6
    put("train/2/turned.jpg", picture(105, (20, 16)), "EXIF", exif=exif)
    put("train/2/.DS_Store", b"x", "hidden")
    put("train/2/Thumbs.db", b"x", "hidden")
    put("train/.ipynb_checkpoints/a.png", good, "hidden")
    planted[str(root / "train/.ipynb_checkpoints")] = planted.pop(
        str(root / "train/.ipynb_checkpoints/a.png")
    )
    put("__MACOSX/a.png", good, "hidden")
    planted[str(root / "__MACOSX")] = planted.pop(str(root / "__MACOSX/a.png"))
    (root / "train" / "empty").mkdir()
    planted[str(root / "train" / "empty")] = "without any file"
    put("test/only/a.png", picture(106), "no training images")
    planted["test/only"] = planted.pop(str(root / "test/only/a.png"))
    put("train/10/copy.png", good, "same pixels")
    put("train/1/leak.png", (root / "test" / "1" / "0.png").read_bytes(), "same pixels")
    (cat / "gone.png").symlink_to(root / "nowhere")
    planted[str(cat / "gone.png")] = "missing"
    return planted


def test_all_problems_are_found_at_once_and_the_rest_is_prepared(tmp_path: Path, home: Path) -> None:
    source = write_folder(tmp_path / "own")
    planted = plant(source)
    listed = tmp_path / "problems.csv"
    with pytest.raises(DataError) as caught:
        datasets.add_own("mine", source, OwnOptions(write_problems=listed.write_bytes))
    assert not (home / "datasets" / "mine").exists()
    with listed.open() as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    for path, word in planted.items():
        assert word in rows[path]["cause"], path
    assert len(rows) == len(planted)
    for name in ("zero.png", "cut.png", "notes.txt", "empty", "test/only", "gone.png"):
        assert name in str(caught.value)
    mine = add(source, skip_errors=True)
    # alpha, palette, 16 bits, CMYK, EXIF, GIF and the copy in another class are taken.
    assert len(mine.train_labels) == 12 + 7 and len(mine.test_labels) == 12
    assert mine.classes == ("1", "2", "10")


def test_grey_that_was_asked_for_is_no_problem(tmp_path: Path, home: Path) -> None:
    write_folder(tmp_path / "images")
    options = OwnOptions(colour=False, image_size=8, workers=1)
    _, notes = datasets.add_own("mine", tmp_path / "images", options)
    assert datasets.load("mine").shape == (8, 8, 1) and not any("turned grey" in note for note in notes)


def test_a_training_image_that_is_also_for_testing_is_left_out_unless_kept(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "own")
    (source / "train" / "1" / "leak.png").write_bytes((source / "test" / "1" / "0.png").read_bytes())
    assert len(add(source).train_labels) == 12
    assert len(add(source, keep_duplicates=True).train_labels) == 13


def test_a_flat_folder_gives_up_a_share_of_each_class_for_testing(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "own", ("",))
    mine, again = add(source, test_share=0.25), add(source, test_share=0.25)
    assert np.bincount(mine.test_labels).tolist() == [1, 1, 1] and len(mine.train_labels) == 9
    assert mine.fingerprint == again.fingerprint != add(source, test_share=0.25, seed=1).fingerprint


def test_the_users_validation_part_validates(tmp_path: Path) -> None:
    mine = add(write_folder(tmp_path / "own", ("train", "val", "test")))
    config = Config.create(dataset="mine", validation=0.5)
    assert config == Config.create(dataset="mine")
    parts = split(config, mine, mine.train_labels)
    assert mine.train_paths is not None
    assert {path.split(b"/")[0] for path in mine.train_paths[parts.validation]} == {b"val"}
    assert {path.split(b"/")[0] for path in mine.train_paths[parts.train]} == {b"train"}


@pytest.mark.parametrize("kind", ["csv", "semicolon", "tsv", "parquet"])
def test_a_table_gives_the_labels_and_the_truth_where_it_knows(tmp_path: Path, kind: str) -> None:
    root = write_folder(tmp_path / "own", ("train",), ("cat", "dog"))
    header = ["file", "said", "clean_label", "split"]
    rows = [[f"train/cat/{n}.png", ("cat", "dog")[n % 2], "cat" if n < 3 else "", "train"] for n in range(4)]
    rows += [[f"train/dog/{n}.png", "cat", "dog", "test"] for n in range(4)]
    table = tmp_path / f"labels.{'csv' if kind == 'semicolon' else kind}"
    if kind == "parquet":
        pd = pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
        pd.DataFrame(rows, columns=header).to_parquet(table)
    else:
        separator = {"csv": ",", "semicolon": ";", "tsv": "\t"}[kind]
        table.write_text("\n".join(separator.join(row) for row in [header, *rows]), encoding="utf-8-sig")
    mine = add(table, root=root, columns=Columns(path="file", label="said"))
    assert mine.classes == ("cat", "dog") and mine.train_truth is not None and mine.train_paths is not None
    by_path = dict(zip(mine.train_paths, zip(mine.train_labels, mine.train_truth, strict=True), strict=True))
    found = {path.rsplit(b"/")[-1]: pair for path, pair in by_path.items()}
    assert found == {b"0.png": (0, 0), b"1.png": (1, 0), b"2.png": (0, 0), b"3.png": (1, -2)}
    # A test image counts by its true label.
    assert mine.test_labels.tolist() == [1, 1, 1, 1]
    parts = split(Config.create(dataset="mine", validation=0.25), mine, mine.train_labels)
    assert (parts.given != parts.true).sum() == 1


def test_training_images_are_measured_against_their_true_labels_where_these_are_known(
    tmp_path: Path, database: Path
) -> None:
    write_folder(tmp_path / "own", ("train", "test"), ("1", "2"))
    files = sorted((tmp_path / "own").rglob("*.png"))
    lines = [
        f"{file},{'1' if n % 2 else '2'},{file.parts[-2]},{file.parts[-3]}" for n, file in enumerate(files)
    ]
    table = tmp_path / "own.csv"
    table.write_text("\n".join(["path,label,clean_label,split", *lines]))
    mine = add(table)
    assert mine.train_truth is not None
    run = as_json(
        "train", "--dataset", "mine", "--epochs", 1, "--model", "mlp", "--validation", 0.3, "--quiet"
    )
    found = as_json("evaluate", run["run"], "--split", "train")
    rows = split(Config.create(dataset="mine", validation=0.3), mine, mine.train_labels).train
    assert [sum(row) for row in found["confusion"]] == np.bincount(
        mine.train_truth[rows], minlength=2
    ).tolist()


def test_a_table_without_the_column_says_which_it_has(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("image,label\na.png,cat\n")
    with pytest.raises(DataError, match="no column 'path'.*image, label.*--path-column"):
        datasets.add_own("mine", table, OwnOptions())


def animal(root: Path) -> None:
    for part in ("training", "testing"):
        (root / part).mkdir(parents=True)
        for number in range(4):
            picture(number + 10 * (part == "testing")).save(root / part / f"{number % 2}_{number}.jpg")


def clothing(root: Path) -> None:
    names = {"noisy_train": range(4), "clean_val": range(4, 6), "clean_test": range(6, 8)}
    (root / "images").mkdir(parents=True)
    for part, numbers in names.items():
        for number in numbers:
            picture(number).save(root / "images" / f"{number}.jpg")
        keys = "".join(f"images/{number}.jpg\n" for number in numbers)
        (root / f"{part}_key_list.txt").write_text(keys)
    (root / "noisy_label_kv.txt").write_text("".join(f"images/{n}.jpg {n % 2}\n" for n in range(4)))
    (root / "clean_label_kv.txt").write_text("".join(f"images/{n}.jpg 0\n" for n in (0, 1, 4, 5, 6, 7)))


def food(root: Path) -> None:
    (root / "meta").mkdir(parents=True)
    (root / "meta" / "classes.txt").write_text("class_name\npie\nsoup\n")
    keys = []
    for number in range(10):
        name = ("pie", "soup")[number % 2]
        (root / "images" / name).mkdir(parents=True, exist_ok=True)
        picture(number).save(root / "images" / name / f"{number}.jpg")
        keys.append(f"{name}/{number}.jpg")
    (root / "meta" / "imagelist.tsv").write_text("class_name/key\n" + "\n".join(keys))
    verified = "".join(f"{key}\t{n % 3 and 1}\n" for n, key in enumerate(keys))
    (root / "meta" / "verified_train.tsv").write_text("class_name/key\tverification_label\n" + verified)


def webvision_with_flickr(root: Path) -> None:
    webvision(root)
    for number in (7, 8):
        place = root / "flickr" / "q0002"
        place.mkdir(parents=True, exist_ok=True)
        picture(number).save(place / f"{number}.jpg")
    lines = "".join(f"flickr/q0002/{number}.jpg 60\n" for number in (7, 8))
    (root / "info" / "train_filelist_flickr.txt").write_text(lines)


def webvision(root: Path) -> None:
    (root / "info").mkdir(parents=True)
    for number in range(6):
        place = root / ("google/q0001" if number < 4 else "val_images_256")
        place.mkdir(parents=True, exist_ok=True)
        picture(number).save(place / f"{number}.jpg")
    lines = "".join(f"google/q0001/{n}.jpg {60 if n == 3 else n % 2}\n" for n in range(4))
    (root / "info" / "train_filelist_google.txt").write_text(lines)
    (root / "info" / "val_filelist.txt").write_text("4.jpg 0\n5.jpg 1\n")


@pytest.mark.parametrize(
    ("layout", "write", "counts", "truth"),
    [
        ("animal-10n", animal, (4, 4), None),
        ("clothing1m", clothing, (6, 2), [-2, -2, 0, 0, 0, 0]),
        ("food-101n", food, None, None),
        ("webvision-mini", webvision, (3, 2), None),
        ("webvision", webvision_with_flickr, (6, 2), None),
    ],
)
def test_the_layouts_of_published_sets_are_read(
    tmp_path: Path,
    layout: str,
    write: Callable[[Path], None],
    counts: tuple[int, int] | None,
    truth: list[int] | None,
) -> None:
    write(tmp_path / "set")
    mine = add(tmp_path / "set", layout=layout)
    if counts:
        assert (len(mine.train_labels), len(mine.test_labels)) == counts
    if truth:
        assert mine.train_truth is not None and sorted(mine.train_truth) == truth
    if layout == "food-101n":
        assert mine.train_truth is not None and set(mine.train_truth) == {-1, 0, 1}


def test_an_unwritable_home_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_folder(tmp_path / "own")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NOISYBENCH_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match="NOISYBENCH_HOME"):
        datasets.add_own("mine", source, OwnOptions())


def plant_more(root: Path) -> dict[str, str]:
    """Further problems in a folder of `write_folder`, by path, with a word of their cause."""
    cat = root / "train" / "2"
    jpeg, webp, bmp = io.BytesIO(), io.BytesIO(), io.BytesIO()
    for file, kind in ((jpeg, "JPEG"), (webp, "WEBP"), (bmp, "BMP")):
        picture(110, (64, 64)).save(file, kind)
    huge = bytearray((cat / "0.png").read_bytes())
    huge[16:24] = struct.pack(">II", 50_000, 50_000)
    huge[29:33] = struct.pack(">I", zlib.crc32(huge[12:29]))
    files = {
        "train/2/cut.jpg": (jpeg.getvalue()[:600], "damaged"),
        "train/2/cut.webp": (webp.getvalue()[:300], "damaged"),
        "train/2/cut.bmp": (bmp.getvalue()[:300], "damaged"),
        "train/2/page.jpg": (b"<!DOCTYPE html><title>404</title>", "not an image"),
        "train/2/bomb.png": (bytes(huge), "decompression bomb"),
        "train/2/deeper/still/png.jpeg": ((root / "train/1/1.png").read_bytes()[:200], "damaged"),
        "train/loose.png": (jpeg.getvalue(), "no class's folder"),
        "train/2/more/desktop.ini": (b"x", "hidden"),
    }
    for name, (content, _) in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    planted = {str(root / name): word for name, (_, word) in files.items()}

    def put(name: str, word: str, image: Image.Image, **options: object) -> None:
        image.save(cat / name, **options)  # type: ignore[arg-type]
        planted[str(cat / name)] = word

    frames = [picture(number) for number in (120, 121, 122)]
    put("film.webp", "several frames", frames[0], save_all=True, append_images=frames[1:])
    put("really.bmp", "PNG file", picture(123), format="PNG")
    put("float.tiff", "32-bit", Image.fromarray(np.random.default_rng(0).random((16, 16), np.float32)))
    put("thin.png", "long and thin", picture(124).resize((1, 400_000)), compress_level=1)
    put("twice.png", "same pixels", Image.open(cat / "1.png"))
    os.mkfifo(cat / "pipe.png")
    planted[str(cat / "pipe.png")] = "not a regular file"
    (root / "backup").mkdir()
    planted[str(root / "backup")] = "no part"
    (root / "train" / "a\nb").mkdir()
    planted[str(root / "train" / "a\nb")] = "cannot be printed"
    return planted


@pytest.mark.slow
def test_thirty_kinds_of_problems_among_hundreds_of_mixed_files(tmp_path: Path, home: Path) -> None:
    source = write_folder(tmp_path / "own")
    kinds = ("JPEG", "PNG", "WEBP", "BMP")
    for number in range(300):
        kind = kinds[number % 4]
        size = (12 + number % 9, 16 + number % 7)
        folder = source / ("test" if number % 6 == 0 else "train") / ("1", "2", "10")[number % 3]
        picture(1000 + number, size).save(folder / f"mixed{number}.{kind.lower()}", kind)
    planted = plant(source) | plant_more(source)
    assert len(planted) >= 30
    listed = tmp_path / "problems.csv"
    result = noisybench("data", "add", "mine", "--from", source, "--problems", listed)
    assert result.exit_code == 2 and not (home / "datasets" / "mine").exists()
    with listed.open(newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    for path, word in planted.items():
        assert word in rows[path]["cause"], path
    result = noisybench("data", "add", "mine", "--from", source, "--on-error", "skip", "--image-size", 16)
    assert result.exit_code == 0
    mine = datasets.load("mine")
    taken = sum(rows[path]["left_out"] == "no" for path in planted)
    assert len(mine.train_labels) + len(mine.test_labels) == 24 + 300 + taken


@pytest.mark.slow
def test_many_images_are_read_by_several_processes_alike(tmp_path: Path) -> None:
    for number in range(600):
        folder = tmp_path / "own" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        picture(number, (8, 8)).save(folder / f"{number}.png")
    one, two = add(tmp_path / "own", workers=1), add(tmp_path / "own", workers=2)
    assert one.fingerprint == two.fingerprint


def test_without_a_home_folder_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOISYBENCH_HOME", "~no-such-user/data")
    with pytest.raises(DataError, match="NOISYBENCH_HOME"):
        datasets.data_home()

"""The kinds of noise: what each transition matrix is, and how a label map is read."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from noisybench.config import Config
from noisybench.errors import DataError, InputError, InvalidValue, UnknownName
from noisybench.inputs import transition_of
from noisybench.labels import noise_of
from noisybench.labels.drawing import transition_matrix
from noisybench.labels.from_file import read_rows
from noisybench.labels.noises import read_map
from noisybench.registry import DATASETS, NOISES, shortened

ANIMALS = ("cat", "dog", "fruit bat")
# Those whose matrix follows from the rate, and not from a file.
NAMES = [
    entry.name
    for entry in NOISES
    if noise_of(NOISES.bind(entry.name)).has_transition and "rows" not in entry.parameters
]

rates = st.floats(0, 1, exclude_max=True)
class_counts = st.integers(2, 100)


def matrix(noise: str, rate: float, n_classes: int) -> np.ndarray:
    return transition_matrix(noise, rate, [f"class {i}" for i in range(n_classes)], {})


@pytest.mark.parametrize("name", NAMES)
@given(rate=rates, n_classes=class_counts)
def test_rows_are_probabilities(name: str, rate: float, n_classes: int) -> None:
    transition = matrix(name, rate, n_classes)
    assert transition.shape == (n_classes, n_classes) and transition.dtype == np.float64
    assert (transition >= 0).all() and (transition <= 1).all()
    np.testing.assert_allclose(transition.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_no_noise_is_the_identity(name: str) -> None:
    assert np.array_equal(matrix(name, 0.0, 7), np.eye(7))


@given(rate=rates, n_classes=class_counts)
def test_uniform_is_the_definition_of_section_3_1(rate: float, n_classes: int) -> None:
    transition = matrix("uniform", rate, n_classes)
    for j in range(n_classes):
        for k in range(n_classes):
            assert transition[j, k] == (1 - rate if j == k else rate / (n_classes - 1))


@given(rate=rates, n_classes=class_counts)
def test_uniform_inclusive_is_uniform_at_its_true_rate(rate: float, n_classes: int) -> None:
    true_rate = rate * (n_classes - 1) / n_classes
    np.testing.assert_allclose(
        matrix("uniform-inclusive", rate, n_classes), matrix("uniform", true_rate, n_classes), atol=1e-15
    )


def flips_of(dataset: str) -> dict[str, str]:
    """The flips that the data set's class-dependent noise makes, by class name."""
    info = DATASETS[dataset].metadata
    transition = transition_matrix("class-dependent", 0.3, info.classes, info.flips)
    names = info.classes
    assert set(transition.diagonal()) <= {1.0, 0.7}
    return {names[i]: names[j] for i, j in np.argwhere(transition == 0.3)}


def test_the_map_of_cifar10() -> None:
    assert flips_of("cifar10") == {
        "truck": "automobile",
        "bird": "airplane",
        "deer": "horse",
        "cat": "dog",
        "dog": "cat",
    }


def test_the_map_of_fashion_mnist() -> None:
    assert flips_of("fashion-mnist") == {
        "Ankle boot": "Sneaker",
        "Sneaker": "Sandal",
        "Pullover": "Shirt",
        "Coat": "Dress",
        "Dress": "Coat",
    }


@pytest.mark.parametrize("dataset", ["cifar100", "digits"])
def test_without_a_map_each_class_becomes_the_next(dataset: str) -> None:
    classes = DATASETS[dataset].metadata.classes
    assert flips_of(dataset) == {name: classes[(i + 1) % len(classes)] for i, name in enumerate(classes)}


# The user's own map


def mapped(text: str) -> np.ndarray:
    noise = str(NOISES.bind("class-dependent", {"map": text}))
    return transition_matrix(noise, 0.25, ANIMALS, {"cat": "fruit bat"})


def test_the_user_s_map_takes_the_place_of_the_data_set_s() -> None:
    expected = [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 1]]
    assert np.array_equal(mapped("cat>dog"), expected)
    assert mapped("")[0, 2] == 0.25


@pytest.mark.parametrize("text", ["fruit-bat>cat", "2>0", "2 -> cat", "fruit-bat → 0", " 2>cat , "])
def test_a_map_takes_names_and_numbers(text: str) -> None:
    assert np.array_equal(mapped(text), [[1, 0, 0], [0, 1, 0], [0.25, 0, 0.75]])


@pytest.mark.parametrize(
    "text",
    [
        "cat>dog fruit-bat>cat",
        "fruit-bat>cat cat>dog",
        "fruit-bat->cat,cat -> dog",
        "cat => dog, fruit-bat→cat",
    ],
)
def test_one_map_has_one_canonical_form(text: str) -> None:
    assert read_map(text) == "cat>dog fruit-bat>cat"
    assert (
        str(NOISES.bind("class-dependent", {"map": text})) == "class-dependent(map='cat>dog fruit-bat>cat')"
    )


def test_a_yaml_file_is_its_content(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text("fruit bat: cat\n0: 'no'\n", encoding="utf-8")
    bound = NOISES.bind("class-dependent", {"map": str(path)})
    assert str(bound) == "class-dependent(map='0>no fruit-bat>cat')"
    path.unlink()
    assert str(NOISES.bind(str(bound))) == str(bound)


def test_without_a_map_the_canonical_form_is_the_name() -> None:
    for text in (
        "class-dependent",
        "class-dependent()",
        "class-dependent(map='')",
        "class-dependent(map=' ')",
    ):
        assert str(NOISES.bind(text)) == "class-dependent"


@pytest.mark.parametrize("text", ["cat>", ">dog", "cat>dog>cat", "cat>dog fruit", "a b>c", "cat>dog cat>bat"])
def test_a_map_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="map is"):
        read_map(text)


@pytest.mark.parametrize("content", ["[cat, dog]", "cat: [dog]", "cat", "", "{cat: dog", "cat: {dog: 1}"])
def test_a_yaml_file_that_is_no_map_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(content)
    with pytest.raises(DataError, match="map.yaml"):
        read_map(str(path))


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in ("no-such-file.yaml", str(tmp_path), str(binary), "nul\0"):
        with pytest.raises(DataError, match="neither pairs such as 'cat>dog dog>cat' nor a file"):
            read_map(path)


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(UnknownName, match="No class is called 'dgo'. Did you mean 'dog'?"):
        mapped("cat>dgo")
    with pytest.raises(UnknownName, match="'3'"):
        mapped("3>cat")
    with pytest.raises(InvalidValue, match="Several classes are called 'a-b'; give the number, 0 to 1"):
        transition_matrix("class-dependent(map='a-b>0')", 0.1, ["a b", "a-b"], {})


@example(text="=→0")
@example(text="a-→0")
@given(text=st.text() | st.text("abc>-=,→ \n0", max_size=12))
def test_any_text_is_a_map_or_is_refused(text: str) -> None:
    try:
        canonical = read_map(text)
    except InputError:
        return
    assert read_map(canonical) == canonical


@pytest.mark.parametrize("content", ["{cat: dog, cat: cat}", "cat: dog\ncat: dog", "[" * 10_000])
def test_a_yaml_map_with_a_class_twice_or_deep_nesting_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=r"map\.yaml"):
        read_map(str(path))


ROWS = "0.9 0.1; 0.25 0.75"


def test_a_matrix_is_its_content_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("0.9,0.1\r\n0.25,0.75\r\n")
    (tmp_path / "b.yaml").write_text("[[0.9, 0.1], [0.250, 0.75]]")
    for text in (tmp_path / "a.csv", tmp_path / "b.yaml", ROWS, "0.90 0.1 ;0.25 0.75"):
        assert read_rows(str(text)) == ROWS
    np.testing.assert_array_equal(
        transition_matrix(f"matrix(rows='{ROWS}')", 0.0, ["a", "b"], {}), [[0.9, 0.1], [0.25, 0.75]]
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0.9,0.1\n0.3,0.75\n", "class 1 sums to 1.05"),
        ("1.1,-0.1\n0,1\n", "class 0"),
        ("nan,1\n0,1\n", "class 0"),
        ("0.9,0.1\n", "rows"),
        ("0.9,0.1\n0.5,0.3,0.2\n", "rows"),
        ("cat,dog\n0.9,0.1\n0.2,0.8\n", "numbers"),
        ("0,1\n1,0\n", "diagonal"),
        ("", "0 rows"),
    ],
)
def test_what_is_no_matrix_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_rows(str(path))


def test_a_file_that_is_no_matrix_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.yaml").write_text("{cat: [0.9, 0.1]}")
    (tmp_path / "rows.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("missing.csv", "rows.yaml", "rows.csv", "rows.txt"):
        with pytest.raises(InputError, match=name):
            read_rows(str(tmp_path / name))


def test_a_map_in_csv_is_the_map_in_yaml(tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text("fruit bat,no\nno,fruit bat\n")
    (tmp_path / "map.yaml").write_text("{fruit bat: no, no: fruit bat}")
    assert read_map(str(tmp_path / "map.csv")) == read_map(str(tmp_path / "map.yaml"))
    for content in ("", "cat,dog,\n", "cat\n", '"cat'):
        (tmp_path / "map.csv").write_text(content)
        with pytest.raises(DataError, match="map"):
            read_map(str(tmp_path / "map.csv"))


def ten_rows(kept: float) -> str:
    """Ten classes that keep this share of their labels, and lose the rest to the next class."""
    shares = {0: kept, 1: round(1 - kept, 6)}
    return "; ".join(" ".join(str(shares.get((j - i) % 10, 0)) for j in range(10)) for i in range(10))


def test_the_rate_of_a_matrix_is_its_own() -> None:
    config = Config.create(noise=f"matrix(rows='{ten_rows(0.8)}')")
    assert config.rate == pytest.approx(0.2)
    assert Config.create(noise=config.noise, rate=0.2) == config
    with pytest.raises(InvalidValue, match="0.2"):
        Config.create(noise=config.noise, rate=0.4)
    other = Config.create(noise=f"matrix(rows='{ten_rows(0.7)}')")
    assert other.identity != config.identity
    with pytest.raises(InvalidValue, match="--rows"):
        Config.create(noise="matrix")
    with pytest.raises(InvalidValue, match="2 rows"):
        transition_of(Config.create(noise=f"matrix(rows='{ROWS}')"))


def test_a_long_matrix_has_a_short_name_for_people() -> None:
    one, other = (shortened(f"matrix(rows='{ten_rows(kept)}')") for kept in (0.8, 0.7))
    assert one != other and max(len(one), len(other)) < 50
    assert shortened(f"matrix(rows='{ROWS}')") == f"matrix(rows='{ROWS}')"

"""The noises whose labels depend on the class alone, each as its transition matrix.

Each is one registered function from the noise rate and the number of classes to the rows of its
transition matrix T: ``T[i][j]`` is the probability that a label of class i becomes class j.  Rows sum
to 1.  A keyword-only parameter with a default is a hyper-parameter; one without is told by the caller:
``classes``, the names of the classes, and ``flips``, the data set's own map of confusable classes.

How labels are drawn from T is in drawing.py.  No NumPy here: `noisybench --help` reads this module.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from noisybench.errors import DataError, InvalidValue, UnknownName
from noisybench.files import located
from noisybench.labels.noise import Rows
from noisybench.options import Option
from noisybench.registry import NOISES

ARROW = re.compile(r"\s*(?:[-=]?>|→)\s*")


@NOISES.register("uniform")
def uniform(rate: float, n_classes: int) -> Rows:
    """With probability η to one of the other classes, evenly (section 3.1)."""
    return _rows(n_classes, 1 - rate, rate / (n_classes - 1))


@NOISES.register("uniform-inclusive")
def uniform_inclusive(rate: float, n_classes: int) -> Rows:
    """With probability η to one of all c classes, evenly: the true rate is η(c-1)/c (section 4.2)."""
    return _rows(n_classes, 1 - rate + rate / n_classes, rate / n_classes)


def _rows(n_classes: int, diagonal: float, elsewhere: float) -> Rows:
    return [[diagonal if i == j else elsewhere for j in range(n_classes)] for i in range(n_classes)]


def read_map(text: str) -> str:
    """The canonical form of a label map: ``cat>dog dog>cat``, sorted, a space in a name as a hyphen.

    text: such pairs, separated by spaces or commas, or the path of a YAML file ``{cat: dog, dog: cat}`` or of
    a CSV file with a row ``cat,dog`` for each pair; the content of the file then is the map, so that its name
    is no part of a run's identity.  Raises InvalidValue or DataError.
    """
    if not text.strip():
        return ""
    inline = ARROW.sub(">", text)
    pairs = _inline_pairs(inline) if ">" in inline else _file_pairs(text)
    sources = [source for source, _ in pairs]
    for source in sources:
        if sources.count(source) > 1:
            raise InvalidValue(f"map is '{text}', but a class has one target, and {source} has several.")
    canonical = " ".join(sorted(f"{source}>{target}" for source, target in pairs))
    if sorted(_inline_pairs(ARROW.sub(">", canonical))) != sorted(pairs):
        raise InvalidValue(
            f"map is '{text}', and a name in it reads like an arrow: give that class's number."
        )
    return canonical


def _inline_pairs(text: str) -> list[tuple[str, str]]:
    pairs = []
    for word in text.replace(",", " ").split():
        source, _, target = word.partition(">")
        if not source or not target or ">" in target:
            raise InvalidValue(f"map is '{text}', but must be pairs such as 'cat>dog dog>cat'.")
        pairs.append((source, target))
    return pairs


def _file_pairs(text: str) -> list[tuple[str, str]]:
    import yaml

    path = located(text)
    try:
        if path.suffix.lower() == ".csv":
            return _csv_pairs(path)
        # Nodes are text, also a class called "no" or "3"; `read_map` refuses a key that stands twice.
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"map is '{text}': neither pairs such as 'cat>dog dog>cat' nor a file that can be read ({error})."
        ) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    nodes = root.value if isinstance(root, yaml.MappingNode) else []
    if not nodes or not all(isinstance(node, yaml.ScalarNode) for pair in nodes for node in pair):
        raise DataError(f"{path} must map class names to class names, such as {{cat: dog, dog: cat}}.")
    return [(_plain(source.value), _plain(target.value)) for source, target in nodes]


def _csv_pairs(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file, strict=True) if row]
    if not rows or any(len(row) != 2 or not all(map(str.strip, row)) for row in rows):
        raise DataError(f"{path} must have two classes in each row, such as cat,dog, and no header.")
    return [(_plain(source), _plain(target)) for source, target in rows]


def _plain(name: str) -> str:
    """A class name as it is written in a map: without spaces, as these separate pairs."""
    return "-".join(name.split())


Map = Annotated[
    str,
    Option(
        "which class is mistaken for which: 'cat>dog dog>cat', by name or number, or a YAML file"
        " {cat: dog, dog: cat}, or a CSV file with rows cat,dog [default: the data set's own map, or each"
        " class to the next]",
        parse=read_map,
    ),
]


@NOISES.register("class-dependent")
def class_dependent(
    rate: float, n_classes: int, *, classes: Sequence[str], flips: Mapping[str, str], map: Map = ""
) -> Rows:
    """With probability η to the class it is mistaken for, by the data set's map or --map (section 4.2)."""
    if map:
        targets = {
            class_number(source, classes): class_number(target, classes)
            for source, target in _inline_pairs(map)
        }
    elif flips:
        targets = {classes.index(source): classes.index(target) for source, target in flips.items()}
    else:
        targets = {i: (i + 1) % n_classes for i in range(n_classes)}
    rows = _rows(n_classes, 1.0, 0.0)
    for source, target in targets.items():
        rows[source][source] = 1 - rate
        rows[source][target] += rate
    return rows


def class_number(name: str, classes: Sequence[str]) -> int:
    """The number of the class called `name`, or with that number.  Raises UnknownName or InvalidValue."""
    known = [_plain(known) for known in classes]
    if known.count(name) > 1:
        raise InvalidValue(f"Several classes are called '{name}'; give the number, 0 to {len(classes) - 1}.")
    if name in known:
        return known.index(name)
    if name.isdecimal() and int(name) < len(classes):
        return int(name)
    raise UnknownName("class", name, known)

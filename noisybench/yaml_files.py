"""Reading YAML files of users: a fault is answered in one line that names the file and the line."""

import re
from pathlib import Path
from typing import Any

from noisybench.errors import DataError

# An anchor repeated in anchors can stand for billions of values, and deep nesting exhausts Python's stack.
MAX_BYTES, MAX_DEPTH, MAX_VALUES, MAX_DIGITS = 10_000_000, 50, 1_000_000, 400
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
FLOAT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
CORE = "tag:yaml.org,2002:"


def read_yaml(path: Path) -> Any:
    """The content of a YAML file: mappings with text or number keys, lists, text, numbers, booleans, null.

    Numbers are decimal: `010` and other forms that YAML versions read differently are refused, as are
    duplicate keys.  Raises DataError.
    """
    try:
        content = path.read_bytes()
        if len(content) > MAX_BYTES:
            raise DataError(f"{path} has {len(content):,} bytes; at most {MAX_BYTES:,} are read.")
        return _read(path, content.decode("utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not YAML: it is not text in UTF-8.") from None


def _read(path: Path, text: str) -> Any:
    import yaml

    def wrong(mark: Any, problem: str) -> DataError:
        line = f", line {mark.line + 1}" if mark is not None else ""
        return DataError(f"{path}{line}: {problem}")

    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise wrong(event.start_mark, f"more than {MAX_DEPTH} levels of nesting.")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        problem = " ".join(str(error.problem or "it cannot be parsed").split())
        hint = " Indent with spaces, not tabs." if "\\t" in problem else ""
        raise wrong(error.problem_mark, f"not YAML: {problem}.{hint}") from None
    except yaml.YAMLError as error:
        raise DataError(f"{path} is not YAML: {' '.join(str(error).split())}.") from None
    if root is None:
        raise DataError(f"{path} is empty.")
    count = 0

    def value(node: Any, inside: tuple[Any, ...]) -> Any:
        nonlocal count
        count += 1
        if count > MAX_VALUES:
            raise wrong(node.start_mark, f"its anchors expand to more than {MAX_VALUES:,} values.")
        if node in inside:
            raise wrong(node.start_mark, "an anchor contains itself.")
        if isinstance(node, yaml.ScalarNode):
            return scalar(node)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{CORE}seq":
            return [value(item, (*inside, node)) for item in node.value]
        if isinstance(node, yaml.MappingNode) and node.tag == f"{CORE}map":
            return mapping(node, (*inside, node))
        raise wrong(node.start_mark, f"the tag {node.tag.replace(CORE, '!!')} is not supported.")

    def mapping(node: Any, inside: tuple[Any, ...]) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        lines: dict[Any, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise wrong(key_node.start_mark, "a key must be text or a number.")
            if key_node.tag == f"{CORE}merge":
                raise wrong(key_node.start_mark, "merge keys (<<) are not supported.")
            key = scalar(key_node)
            if key in found:
                problem = f"the key '{key}' is given twice, first in line {lines[key]}."
                raise wrong(key_node.start_mark, problem)
            lines[key] = key_node.start_mark.line + 1
            found[key] = value(value_node, inside)
        return found

    def scalar(node: Any) -> Any:
        text, tag = node.value, node.tag.removeprefix(CORE)
        shown = text if len(text) <= 30 else f"{text[:30]}…"
        if tag == "str":
            return text
        if tag == "null" and text in ("", "~", "null", "Null", "NULL"):
            return None
        if tag == "bool" and text.lower() in ("true", "false", "yes", "no", "on", "off"):
            return text.lower() in ("true", "yes", "on")
        if tag == "int":
            if INTEGER.fullmatch(text) and len(text) <= MAX_DIGITS:
                return int(text)
            problem = f"'{shown}' is not a decimal integer. Quote it if it is text."
            raise wrong(node.start_mark, problem)
        if tag == "float" and FLOAT.fullmatch(text) and len(text) <= MAX_DIGITS:
            return float(re.sub(r"\.(?=[inIN])", "", text))
        problem = f"'{shown}' is read as {tag}, which is not allowed here. Quote it if it is text."
        raise wrong(node.start_mark, problem)

    return value(root, ())

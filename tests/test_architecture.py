"""The rules of the design that the code itself can be asked about."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import noisybench

PACKAGE = Path(noisybench.__file__).parent

# The rooms in the order of the flow: each uses only what stands before it.
ORDER = [
    "errors",
    "options",
    "files",
    "registry",
    "seeding",
    "yaml_files",
    "pages",
    "datasets",
    "losses",
    "models",
    "pretrained",
    "methods",
    "labels",
    "config",
    "results",
    "inputs",
    "verification",
    "split",
    "batches",
    "training",
    "diagnosis",
    "store",
    "reporting",
    "sweeps",
    "cli",
    "__main__",
]
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path, top_level_only: bool = False) -> set[str]:
    """The modules that a file imports, by full name."""
    tree = ast.parse(path.read_text())
    names: set[str] = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_imports_point_one_way() -> None:
    wrong = []
    for path in FILES:
        own = ORDER.index(room(path))
        used = {name.split(".")[1] for name in imported(path) if name.startswith("noisybench.")}
        wrong += [
            f"{path.relative_to(PACKAGE)} imports {name}"
            for name in sorted(used - {"__version__"})
            if name not in ORDER or ORDER.index(name) > own
        ]
    assert not wrong


def test_no_files_import_each_other_in_a_circle() -> None:
    """At module level, where the one that is imported first would find the other half made."""
    modules = {module_name(path): path for path in FILES}
    uses = {}
    for name, path in modules.items():
        found = imported(path, top_level_only=True)
        # `from package.module import name` is of the module, unless the name is one itself.
        found = {each if each in modules else each.rpartition(".")[0] for each in found}
        uses[name] = found & modules.keys()
    TopologicalSorter(uses).prepare()


def test_only_the_command_line_imports_typer() -> None:
    users = {room(path) for path in FILES if any(name.startswith("typer") for name in imported(path))}
    assert users == {"cli"}


def test_only_the_sweeps_on_a_cluster_import_ray() -> None:
    users = {path.parent for path in FILES if any(name.split(".")[0] == "ray" for name in imported(path))}
    assert users == {PACKAGE / "sweeps" / "ray"}


@pytest.mark.parametrize("room_name", ["config", "store", "reporting", "cli", "datasets", "losses", "models"])
def test_no_torch_at_module_level(room_name: str) -> None:
    """Help texts, lists and reports must not wait for torch."""
    layers = ("criteria.py", "networks.py")
    modules = [module_name(path) for path in FILES if room(path) == room_name and path.name not in layers]
    code = (
        f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

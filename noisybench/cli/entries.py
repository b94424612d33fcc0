"""`noisybench list`: the losses, noises, models or data sets, with their hyper-parameters."""

from typing import Annotated, Any, Literal

import typer

from noisybench.cli.arguments import AsJson
from noisybench.cli.console import print_json, say
from noisybench.methods import needs
from noisybench.registry import DATASETS, METHODS, MODELS, NOISES, MethodInfo, Registry

Kind = Literal["losses", "noises", "models", "datasets"]


def list_entries(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="losses, noises, models or datasets.")],
    as_json: AsJson = False,
) -> None:
    """List the losses, noises, models or data sets.

    Prints the help and the hyper-parameters of each, and the year of a loss.
    """
    registries: dict[str, Registry[Any]] = {
        "losses": METHODS,
        "noises": NOISES,
        "models": MODELS,
        "datasets": DATASETS,
    }
    rows: list[dict[str, Any]] = []
    for entry in registries[kind]:
        row: dict[str, Any] = {
            "name": entry.name,
            "help": entry.help,
            "hyper_parameters": dict(entry.defaults),
        }
        if isinstance(entry.metadata, MethodInfo):
            row |= {"year": entry.metadata.year, "passes": entry.metadata.passes}
            row["needs"] = needs(METHODS.bind(entry.name))
        rows.append(row)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        values = ", ".join(f"{name}={value}" for name, value in row["hyper_parameters"].items())
        year = f"{row['year'] or '':<6}" if kind == "losses" else ""
        more = f" Needs {', '.join(row['needs'])}." if row.get("needs") else ""
        say(f"{row['name']:<25}{year}{row['help']}" + (f" [{values}]" if values else "") + more)

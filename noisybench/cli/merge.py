"""`noisybench runs merge`: merge the runs of several stores into one."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from noisybench.cli.arguments import AsJson
from noisybench.cli.console import complain, print_json, say
from noisybench.errors import RunFailed


def merge(
    stores: Annotated[
        list[Path], typer.Argument(metavar="STORE...", help="SQLite files of runs; they are not changed.")
    ],
    into: Annotated[Path, typer.Option("--into", help="Store to merge into; created if it does not exist.")],
    as_json: AsJson = False,
) -> None:
    """Merge the runs of several stores into one.

    Each run is stored once, with its network; merging again adds nothing. Completed attempts at one run with
    different measurements are all kept, and the one that completed last counts. Attempts that contradict
    each other (other noisy labels, or other numbers from one version on one kind of CPU) are listed, and the
    exit code is 1.
    """
    from noisybench.store.merge import merge as bring_together

    done = bring_together(stores, into)
    already = len(done.copies) - len(done.added)
    if as_json:
        found = [asdict(contradiction) for contradiction in done.contradictions]
        print_json(
            {
                "into": str(into),
                "added": done.added,
                "already": already,
                "left_out": done.left_out,
                "contradictions": found,
            }
        )
    else:
        unfinished = f", {done.left_out} unfinished left out" if done.left_out else ""
        added = "1 run" if len(done.added) == 1 else f"{len(done.added)} runs"
        say(f"{into}: {added} added, {already} already there{unfinished}.")
    for one in done.contradictions:
        complain(f"{one.config}: {one.first} and {one.second} contradict each other: {one.differs}.")
    if done.contradictions:
        count = len(done.contradictions)
        raise RunFailed(
            f"{count} contradiction{'s' if count > 1 else ''}. {into} has all these attempts; the one that"
            " completed last counts. If you know which is wrong, remove it with `noisybench runs delete`."
        )

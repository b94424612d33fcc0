"""The command line: one file per command, each thin.  Nothing imports this package."""

import io
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import noisybench
from noisybench.cli import (
    check,
    corrupt,
    data,
    diagnose,
    entries,
    evaluate,
    prune,
    report,
    runs,
    sweep,
    train,
    tune,
)
from noisybench.cli.console import brief, complain, remember_arguments, way_to_go_on
from noisybench.errors import NoisybenchError
from noisybench.sweeps import signals


class Commands(TyperGroup):
    """Turns our exceptions into one message on stderr and an exit code, at the one edge there is."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        try:
            return super().make_context(*args, **extra)
        except KeyboardInterrupt as error:
            raise _stopped(error) from None
        except Exception as error:
            _shorten(error)
            raise

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        remember_arguments(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except NoisybenchError as error:
            complain(str(error))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt as error:
            raise _stopped(error) from None
        except BrokenPipeError:
            raise
        except OSError as error:
            complain(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}.")
            raise typer.Exit(1) from None
        except Exception as error:
            _shorten(error)
            # A library that is being imported turns what a signal raises into an error of its own.
            if not signals.received:
                raise
            raise _stopped(signals.received[0]) from None


def _shorten(error: Exception) -> None:
    """What typer says of a wrong option repeats it, whatever its length and characters."""
    message = getattr(error, "message", None)
    if isinstance(message, str) and hasattr(error, "format_message"):
        error.message = brief(message)  # type: ignore[attr-defined]


def _stopped(error: KeyboardInterrupt) -> typer.Exit:
    """Say that a signal stopped the command, and how to go on."""
    # Ray raises its own KeyboardInterrupt in place of ours, which knows the signal.
    error = signals.received[0] if signals.received else error
    how = f": {error}" if str(error) else ""
    again = way_to_go_on()
    complain(f"Interrupted{how}.{f' To go on, give the same command again: {again}' if again else ''}")
    return typer.Exit(getattr(error, "exit_code", 130))


app = typer.Typer(
    cls=Commands,
    name="noisybench",
    help="Benchmark the training of image classifiers with noisy labels.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"noisybench {noisybench.__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


app.command()(corrupt.corrupt)
app.command()(train.train)
app.command()(prune.prune)
app.command()(evaluate.evaluate)
app.command()(report.report)
app.command()(sweep.sweep)
app.command()(tune.tune)
app.command()(diagnose.diagnose)
app.command()(check.check)
app.command("list")(entries.list_entries)
app.add_typer(runs.app, name="runs")
app.add_typer(data.app, name="data")


def main() -> None:
    signals.stop_on_signals()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that knows no "±" shows "?" and goes on.
            stream.reconfigure(errors="replace")
    remember_arguments(sys.argv[1:])
    try:
        app()
    except KeyboardInterrupt as error:  # before typer has begun
        sys.exit(_stopped(error).exit_code)

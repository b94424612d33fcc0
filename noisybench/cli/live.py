"""The live display of runs on a terminal."""

from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from noisybench.cli.console import cell
from noisybench.cli.progress import describe, measures
from noisybench.config import Config
from noisybench.results import Epoch, Pruning
from noisybench.sweeps.observer import RunObserver


class Bars(Progress):
    """Bars with the time taken and left, and below them lines on the run and its last measurements.

    On a narrow terminal, those lines are cut, and the time left is not."""

    def __init__(self, console: Console) -> None:
        # The lines below the bars, by the observer that writes each.
        self.below: dict[object, str] = {}
        super().__init__(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        for line in list(self.below.values()):
            text = cell(line)
            text.no_wrap, text.overflow = True, "ellipsis"
            yield text


class Live(RunObserver):
    """The bar of a single run, redrawn in place, with its prunings on the screen above it; of several runs,
    the bar of them all, with a bar for each `job`."""

    def __init__(self, bars: Bars, runs: int) -> None:
        self.bars = bars
        self.name = ""
        self.overall = bars.add_task("runs", total=runs) if runs > 1 else None
        self.current = bars.add_task("epochs", total=None, visible=False)
        self.bars.below[self] = "starting: importing PyTorch"

    def job(self) -> RunObserver:
        self.bars.below.pop(self, None)
        return OneOfMany(self.bars, self.overall)

    def start(self, config: Config) -> None:
        self.name = describe(config)
        self.bars.below[self] = self.name
        self.bars.reset(self.current, total=config.epochs, visible=True)

    def resume(self, epochs: Sequence[Epoch]) -> None:
        if epochs:
            # The time left follows from the epochs of this process: the bar starts at the resumed epoch.
            total = next(task.total for task in self.bars.tasks if task.id == self.current)
            self.bars.reset(self.current, total=total, completed=len(epochs))

    def show(self, event: Epoch | Pruning) -> None:
        if isinstance(event, Epoch):
            self.bars.below[self] = f"{self.name}\n{measures(event)}"
            self.bars.update(self.current, completed=event.epoch)
        else:
            self.bars.console.print(f"epoch {event.epoch}: {measures(event)}", markup=False)

    def tell(self, message: str) -> None:
        self.bars.console.print(message, markup=False)


class OneOfMany(RunObserver):
    """The bar of one run while others are carried out beside it."""

    def __init__(self, bars: Bars, overall: TaskID | None) -> None:
        self.bars, self.overall = bars, overall
        self.name = self.short = ""
        self.current: TaskID | None = None

    def start(self, config: Config) -> None:
        self.name = describe(config)
        self.short = f"{config.dataset} {config.loss} {config.rate:g} s{config.seed}"
        self.current = self.bars.add_task(self.short, total=config.epochs)

    def resume(self, epochs: Sequence[Epoch]) -> None:
        if self.current is not None:
            self.bars.update(self.current, completed=len(epochs))

    def show(self, event: Epoch | Pruning) -> None:
        if self.current is not None and isinstance(event, Epoch):
            self.bars.update(self.current, completed=event.epoch)
            self.bars.below[self] = f"{self.short}: {measures(event)}"

    def tell(self, message: str) -> None:
        self.bars.console.print(f"{self.name}: {message}", markup=False)

    def end(self, failure: str = "") -> None:
        self.bars.below.pop(self, None)
        if failure:
            self.bars.console.print(f"{self.name}: {failure}", markup=False, style="red")
        elif self.overall is not None:
            self.bars.advance(self.overall)
        if self.current is not None:
            self.bars.remove_task(self.current)
            self.current = None

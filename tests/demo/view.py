"""Shows the figures, live in a terminal or line by line elsewhere."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tests.demo.figures import Figures


class View(Protocol):
    """Shows the figures until it is cancelled."""

    async def __call__(self, figures: Figures) -> None:
        """Show the figures."""
        ...


def view(console: Console) -> View:
    """Return the view for this console."""
    return _live if console.is_terminal else _lines


async def _live(figures: Figures) -> None:
    with Live(get_renderable=lambda: _panel(figures), refresh_per_second=4):
        await asyncio.Event().wait()


async def _lines(figures: Figures) -> None:
    shown = ""
    try:
        while True:
            shown = _show(figures, shown)
            await asyncio.sleep(2)
    finally:
        _show(figures, shown)


def _show(figures: Figures, before: str) -> str:
    line = _line(figures)
    if line != before:
        print(f"{figures.elapsed:6.1f} s  {line}", flush=True)
    return line


def _line(figures: Figures) -> str:
    return (
        f"ready {figures.ready:5,}  in flight {figures.counts.unacked:3}  workers {figures.workers:2}  "
        f"desired {figures.desired:2}  done {figures.done:5,}/{figures.total:,}"
    )


def _panel(figures: Figures) -> Group:
    table = Table(box=None, pad_edge=False)
    columns: dict[str, Callable[[Figures], int]] = {
        "ready": lambda now: now.ready,
        "in flight": lambda now: now.counts.unacked,
        "workers": lambda now: now.workers,
        "desired": lambda now: now.desired,
        "done": lambda now: now.done,
    }
    for name in columns:
        table.add_column(name, justify="right", min_width=9)
    table.add_row(*(f"{figure(figures):,}" for figure in columns.values()))
    workers = Text("●" * figures.workers, style="green") + Text(
        "○" * max(0, figures.desired - figures.workers), style="dim"
    )
    bar = ProgressBar(total=figures.total, completed=figures.done, width=58, finished_style="green")
    return Group(table, workers, bar)

"""The one place that writes to the terminal: text and tables for people, JSON for programs, progress on standard error.

People get text on standard output. With `--json` it holds one JSON document (one per line where a verb says so) and
nothing else; errors and progress are on standard error in both cases, so a pipe stays clean.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import click
import msgspec

from kappa.errors import KappaError

if TYPE_CHECKING:
    from rich.console import Console

# Between plain lines of progress, where there is no terminal to draw on.
PROGRESS_LINE_S = 5.0
# Wide enough for any table: what reads a pipe can cut lines, but it cannot put cut cells together again.
_PIPE_COLUMNS = 10_000


class Progress(Protocol):
    """Shows how far something has come."""

    def __call__(self, done: int, *, total: int | None = None, note: str = "") -> None:
        """Show that `done` of `total` is done."""


class Output:
    """Shows results. Verbs give it values and, for people, the way to put them."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json

    def show(self, value: Any, text: Callable[[], None]) -> None:
        """Print `value` as one JSON document, or call `text` to put it for people."""
        if self.as_json:
            click.echo(msgspec.json.format(to_json(value), indent=2))
        else:
            text()

    def record(self, value: Any, text: str) -> None:
        """Print one of many values: a line of JSON, or a line of text."""
        click.echo(to_json(value) if self.as_json else text)

    def line(self, text: str = "", *, style: str | None = None) -> None:
        """Print a line for people."""
        self._console.print(text, style=style)

    @property
    def on_terminal(self) -> bool:
        """Whether standard output is a terminal, so that things can be drawn over each other."""
        return self._console.is_terminal

    def draw(self, drawing: Any) -> None:
        """Print a rich renderable for people."""
        self._console.print(drawing)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, numbers: Sequence[str] = ()) -> None:
        """Print a table for people; the columns named in `numbers` are aligned to the right."""
        self._console.print(make_table(columns, rows, numbers=numbers))

    def note(self, text: str) -> None:
        """Print a remark for people on standard error, where it spoils nothing that a program reads."""
        click.echo(text, err=True)

    def raw(self, text: str) -> None:
        """Print text as it is, for example CSV."""
        click.echo(text, nl=False)

    @contextmanager
    def live(self) -> Iterator[Callable[[Any], None]]:
        """Give a function that shows a rich renderable in place of the last one; on a pipe, below it."""
        from rich.live import Live  # noqa: PLC0415 - rich is loaded when something is drawn

        if self._console.is_terminal:
            with Live(console=self._console, auto_refresh=False) as live:
                yield lambda renderable: live.update(renderable, refresh=True)
        else:
            yield self._console.print

    @contextmanager
    def progress(self, what: str, *, unit: str) -> Iterator[Progress]:
        """Show progress while the block runs: a bar with rate and remaining time, or a plain line now and then."""
        if sys.stderr.isatty():
            with _bar(what) as progress:
                yield progress
        else:
            yield _ProgressLines(what, unit=unit)

    @cached_property
    def _console(self) -> Console:
        return _console(sys.stdout)


def make_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, numbers: Sequence[str] = ()) -> Any:
    """Return a rich table; the columns named in `numbers` are aligned to the right."""
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        table.add_column(Text(column), justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(value)) for value in row))
    return table


def counted(number: int, *, exact: bool) -> str:
    """Return a number of events for people, with a sign if there may be a few less."""
    return f"{number:,}" if exact else f"~{number:,}"


def printable(value: Any) -> str:
    r"""Return a value as one line that cannot disturb a terminal: bytes decoded, control characters escaped.

    >>> printable(None), printable(1234567), printable(["a", 1]), printable(b"a\x1b[31m\xff")
    ('', '1234567', '["a",1]', 'a\\x1b[31m\\xff')
    """
    match value:
        case None:
            return ""
        case bytes():
            text = value.decode("utf-8", "backslashreplace")
        case str() | Decimal() | float():
            text = str(value)
        case _:
            encoded = msgspec.json.encode(value).decode()
            text = encoded[1:-1] if isinstance(value, datetime | date) else encoded
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def to_json(value: Any) -> bytes:
    """Return JSON; bytes in it become text if they are, so that people can read keys and events."""
    return msgspec.json.encode(_readable(msgspec.to_builtins(value, builtin_types=(bytes,), str_keys=True)))


def show_error(error: KappaError) -> None:
    """Print what happened, where, and what to do next, on standard error."""
    click.echo(f"error: {_one_line(error.message)}", err=True)
    if error.where:
        click.echo(f"where: {_one_line(error.where)}", err=True)
    if error.next_step:
        click.echo(f"next:  {_one_line(error.next_step)}", err=True)


def show_traceback() -> bool:
    """Say whether the reader wants tracebacks of unexpected errors."""
    return os.environ.get("KAPPA_TRACEBACK", "") not in ("", "0")


def _one_line(text: str) -> str:
    return "\n       ".join(printable(line) for line in text.splitlines())


def _readable(value: Any) -> Any:
    match value:
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case dict():
            return {key: _readable(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_readable(inner) for inner in value]
        case _:
            return value


def _console(file: Any) -> Console:
    from rich.console import Console  # noqa: PLC0415 - rich is loaded when something is drawn

    width = None if file.isatty() else _PIPE_COLUMNS
    return Console(file=file, width=width, markup=False, highlight=False, emoji=False, soft_wrap=True)


@contextmanager
def _bar(what: str) -> Iterator[Progress]:
    from rich.progress import (  # noqa: PLC0415 - rich is loaded when something is drawn
        BarColumn,
        Progress,
        Task,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text  # noqa: PLC0415

    class Remaining(TimeRemainingColumn):
        """The time to go, unless the note says it."""

        def render(self, task: Task) -> Text:
            return Text() if task.fields["note"] else super().render(task)

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}"),
        Remaining(),
    )
    with Progress(*columns, console=_console(sys.stderr), transient=True) as bar:
        task = bar.add_task(what, total=None, note="")

        def update(done: int, *, total: int | None = None, note: str = "") -> None:
            bar.update(task, completed=done, total=total, note=note)

        yield update


class _ProgressLines:
    """Progress where there is no terminal: a line every few seconds, none for what is done at once."""

    def __init__(self, what: str, *, unit: str) -> None:
        self._what, self._unit = what, unit
        self._started = self._shown = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, *, total: int | None = None, note: str = "") -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = done
        if now - self._shown < PROGRESS_LINE_S:
            return
        self._shown = now
        rate = (done - self._first) / (now - self._started)
        share = f" of {total:,}" if total else ""
        # A note says what is to be known; an estimate beside one that it holds would be another.
        remaining = f", {(total - done) / rate:.0f} s to go" if total and rate > 0 and not note else ""
        click.echo(f"{self._what}: {done:,}{share} {self._unit}{remaining}{', ' + note if note else ''}", err=True)

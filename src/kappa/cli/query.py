"""`kappa query`: answer SQL over the views."""

from __future__ import annotations

import csv
import io

import click

from kappa.app import App
from kappa.cli.output import Output
from kappa.cli.verb import verb

_ROWS_MAX = 1_000
_TIMEOUT_S = 30.0


@verb
@click.argument("sql")
@click.option("--rows-max", type=click.IntRange(1), default=_ROWS_MAX, show_default=True, help="Show at most so many.")
@click.option("--timeout", type=click.FloatRange(0.1), default=_TIMEOUT_S, show_default=True, help="Give up after, s.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header instead of a table.")
def query(app: App, out: Output, *, sql: str, rows_max: int, timeout: float, as_csv: bool) -> None:
    """Answer a SELECT over the views, each a table of its primary version's rows.

    The tables also have _partition and _offset: the last event folded into a row. Nothing can be changed.

    Examples:
      kappa query "SELECT * FROM user_profile ORDER BY total_orders DESC LIMIT 5"
      kappa query "SELECT count(*) AS users FROM user_profile" --json
    """
    answer = app.query(sql, rows_max=rows_max, timeout_s=timeout)
    if as_csv:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([answer.columns, *answer.rows])
        out.raw(text.getvalue())
    else:
        numbers = [
            name
            for at, name in enumerate(answer.columns)
            if all(isinstance(row[at], int | float | None) for row in answer.rows)
        ]
        out.show(answer, lambda: out.table(answer.columns, answer.rows, numbers=numbers))
    if answer.truncated:
        out.note(f"only the first {rows_max:,} rows are shown: raise --rows-max for more")

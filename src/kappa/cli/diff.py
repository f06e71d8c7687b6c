"""`kappa diff`: compare two versions of a view."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import click

from kappa.app import App
from kappa.cli.output import Output, printable
from kappa.cli.verb import verb
from kappa.cli.version_number import VERSION
from kappa.control.advance import Advance
from kappa.planning.diffs import ColumnDiff, DiffReport, FirstDifference, Sample

_SAMPLES = 10
_EVENT_CHARACTERS = 300


@verb
@click.argument("view")
@click.argument("left", metavar="[A]", type=VERSION, required=False)
@click.argument("right", metavar="[B]", type=VERSION, required=False)
@click.option(
    "--samples", type=click.IntRange(0), default=_SAMPLES, show_default=True, help="Show at most so many keys."
)
@click.option("--sample", type=click.IntRange(1), help="Compare only about so many keys, the same ones each time.")
def diff(
    app: App, out: Output, *, view: str, left: int | None, right: int | None, samples: int, sample: int | None
) -> None:
    """Compare versions A and B of VIEW row by row at one position, by default the primary and the newest candidate.

    Every key is compared, unless --sample says otherwise. Both versions may be consuming meanwhile: a key that moved
    is brought to one position in both by folding its events. Of the keys that changed, those with the largest change
    are shown, and of the first of them the event after which the two rows differ.

    What B's view declares with expect= is judged, and the report is kept: `kappa promote` asks for it. Exit code 1 if
    an expectation is broken, B sets aside events that A does not, or a key could not be verified.

    Examples:
      kappa diff carrier
      kappa diff carrier v1 v3 --samples 3
      kappa diff carrier --sample 10000 --json
    """
    work = app.diff(view, left, right, samples_max=samples, keys_about=sample)
    report = _follow(work, out)
    release = app.control.release()
    live = {version.table.version for version in app.control.versions(view) if version.retired_at is None}
    replaceable = release.primaries.get(view) == report.left != report.right in live
    former = release.formers[view].version if view in release.formers else None
    next_lines = tuple(_next_lines(report, replaceable=replaceable, former=former))
    out.show(report, lambda: _show(out, report, next_lines))
    if report.broken or report.unverified or report.dead_right_only:
        raise click.exceptions.Exit(1)


def _follow(work: Generator[Advance, None, DiffReport], out: Output) -> DiffReport:
    with out.progress("comparing", unit="rows") as progress:
        while True:
            try:
                advance = next(work)
            except StopIteration as finished:
                report: DiffReport = finished.value
                return report
            progress(advance.done, total=advance.total, note=advance.note)


def _show(out: Output, report: DiffReport, next_lines: Sequence[str]) -> None:
    out.line(f"{report.view} v{report.left} → v{report.right}: {_coverage(report)}")
    for note in report.notes:
        out.line(f"note: {printable(note)}")
    out.line()
    _show_counts(out, report)
    _show_columns(out, report)
    for kind, title in (
        ("changed", "changed most"),
        ("only-left", f"only in v{report.left}"),
        ("only-right", f"only in v{report.right}"),
    ):
        _show_samples(out, report, [sample for sample in report.samples if sample.kind == kind], title)
    if report.expectations:
        out.line("expectations")
        for verdict in report.expectations:
            mark, style = ("✓", "green") if verdict.met else ("✗", "red")
            out.line(f'  {mark} {verdict.name}: "{verdict.expected}"; {verdict.found}', style=style)
        out.line()
    if report.dead_right_only:
        aside = f"v{report.right} sets aside {report.dead_right_only:,} events that v{report.left} does not"
        out.line(f"{aside}: kappa dlq list\n", style="red")
    for line in next_lines:
        out.line(line)


def _coverage(report: DiffReport) -> str:
    position = sum(report.position.values())
    compared = f"{report.compared:,} keys compared at position {position:,}"
    if report.sampled:
        return f"{compared}, a sample"
    if report.unverified:
        return f"{compared}, {report.unverified:,} could not be verified"
    return f"{compared}, all there are"


def _show_counts(out: Output, report: DiffReport) -> None:
    counts = {
        "equal": report.equal,
        "changed": report.changed,
        f"only in v{report.left}": report.only_left,
        f"only in v{report.right}": report.only_right,
        f"set aside by v{report.left}": report.dead_left,
        f"set aside by v{report.right}": report.dead_right,
    }
    out.table(tuple(counts), [tuple(f"{count:,}" for count in counts.values())], numbers=tuple(counts))
    out.line()


def _show_columns(out: Output, report: DiffReport) -> None:
    both = report.equal + report.changed
    changed = [column for column in report.columns if column.changed]
    if changed:
        names = ("column", "changed", "of keys", "raised", "lowered", "largest difference")
        out.table(names, [_column_row(column, both) for column in changed], numbers=names[1:])
    unchanged = [column.name for column in report.columns if not column.changed]
    for title, columns in (
        ("unchanged", unchanged),
        (f"new in v{report.right}", report.added),
        (f"gone in v{report.right}", report.removed),
    ):
        if columns:
            out.line(f"{title}: {', '.join(columns)}", style="dim")
    out.line()


def _column_row(column: ColumnDiff, both: int) -> tuple[str, ...]:
    number = column.largest is not None
    return (
        column.name,
        f"{column.changed:,}",
        f"{100 * column.changed / both:.3g} %",
        f"{column.raised:,}" if number else "",
        f"{column.lowered:,}" if number else "",
        f"{column.largest:,.6g}" if column.largest is not None else "",
    )


def _show_samples(out: Output, report: DiffReport, samples: list[Sample], title: str) -> None:
    if not samples:
        return
    out.line(title)
    for sample in samples:
        out.line(f"  {' '.join(printable(part) for part in sample.key)}  {_change(sample)}")
        if sample.cause is not None:
            for line in _cause_lines(sample.cause, report):
                out.line(f"      {line}", style="dim")
        elif sample.not_explained:
            out.line(f"      not explained: {printable(sample.not_explained)}", style="dim")
    out.line()


def _change(sample: Sample) -> str:
    if sample.left is not None and sample.right is not None:
        return ", ".join(f"{name} {shown(sample.left[name])} → {shown(sample.right[name])}" for name in sample.right)
    return _values({**(sample.left or sample.right or {})})


def _cause_lines(cause: FirstDifference, report: DiffReport) -> Iterator[str]:
    ordinal = "its first event" if cause.number == 1 else f"event {cause.number:,} of this key"
    event = printable(cause.event)
    if len(event) > _EVENT_CHARACTERS:
        event = f"{event[:_EVENT_CHARACTERS]}..."
    yield f"they differ from {ordinal} on, {cause.partition}:{cause.offset} at {cause.time:%Y-%m-%dT%H:%M:%SZ}"
    yield event
    yield f"before: {_values(cause.before)}"
    for version, after, reason in (
        (report.left, cause.left, cause.left_reason),
        (report.right, cause.right, cause.right_reason),
    ):
        yield f"v{version}: {_values(after)}" + (f"; set aside: {printable(reason)}" if reason else "")


def _values(values: Mapping[str, Any] | None) -> str:
    return "no row" if values is None else ", ".join(f"{name} {shown(value)}" for name, value in values.items())


def shown(value: Any) -> str:
    """Return a column's value for people; unlike an empty text, no value is seen.

    >>> shown(None), shown("UA"), shown(1.5), shown([])
    ('null', 'UA', '1.5', '[]')
    """
    if value is None:
        return "null"
    return printable(value) if value != "" else '""'


def _next_lines(report: DiffReport, *, replaceable: bool, former: int | None) -> Iterator[str]:
    """Say what comes next; `replaceable` is whether the right version can take the place of the left one."""
    candidate = f"{report.view} v{report.right}"
    again = f"kappa diff {report.view} v{report.left} v{report.right}"
    if replaceable and former == report.right:
        yield f"next: v{report.right} is warm: kappa rollback {report.view} returns to it"
    elif replaceable and (report.broken or report.dead_right_only):
        yield f"next: mend the code and plan again with `kappa plan`, or give it up: kappa abort {candidate}"
    elif report.unverified:
        yield f"next: compare again once both versions are closer: {again}"
    elif report.sampled:
        yield f"next: compare all keys: {again}"
    elif replaceable:
        yield f"next: kappa promote {candidate}, or give it up: kappa abort {candidate}"

"""`kappa dlq`: list, show and retry what was set aside."""

from __future__ import annotations

import click
import msgspec

from kappa.app import App
from kappa.cli.output import Output, printable
from kappa.cli.verb import verb
from kappa.control.dead_letters import InputId, LetterId, SetAsideList, parse_id
from kappa.control.ingest import RetryReport

_LIMIT = 20


class LetterVerdict(msgspec.Struct, frozen=True):
    """Whether today's code could fold a dead letter; `reason` says why not."""

    id: str
    folds: bool
    reason: str | None


@click.group()
def dlq() -> None:
    """List, show and retry what was set aside.

    Two kinds of things are: input that could not become events (its id is SOURCE:PLACE), and records of the log that a
    version of a view could not fold (VIEW:vN:PARTITION:OFFSET). Neither stops anything else.
    """


@verb
@click.option("-n", "limit", type=click.IntRange(1), default=_LIMIT, show_default=True, help="List at most so many.")
def list_(app: App, out: Output, *, limit: int) -> None:
    """List what was set aside, input first, with the reasons.

    Example:
      kappa dlq list -n 100
    """
    found = app.set_aside(limit=limit)
    out.show(found, lambda: _show_list(out, found))


@verb
@click.argument("id_", metavar="ID")
def show(app: App, out: Output, *, id_: str) -> None:
    """Show one thing that was set aside: its place, its reason and its bytes.

    Example:
      kappa dlq show user_profile:v1:3:42
    """
    found = app.find_set_aside(parse_id(id_))

    def text() -> None:
        out.line(found.place)
        out.line(f"{printable(found.reason)}\n")
        out.line(printable(found.value))
        if len(found.value) < found.size_bytes:
            out.line(f"... the first {len(found.value):,} of {found.size_bytes:,} bytes", style="dim")

    out.show(found, text)


@verb
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--all", "all_", is_flag=True, help="Retry all rejected input.")
def retry(app: App, out: Output, *, id_: str | None, all_: bool) -> None:
    """Try rejected input again with today's code and settings, and append what has become an event.

    It is appended now, behind what has come in meanwhile. For a dead letter of a view nothing is appended, since the
    record is in the log already and a version always folds alike: this says whether today's code could fold it, as a
    new version would.

    Examples:
      kappa dlq retry --all
      kappa dlq retry /data/events.ndjson:1024
    """
    if (id_ is None) != all_:
        raise click.UsageError("Give either an ID or --all.")
    if id_ is None:
        _retry_all(app, out)
        return
    match wanted := parse_id(id_):
        case InputId():
            app.find_set_aside(wanted)
            _show_retry(out, app.retry().one(wanted.source, wanted.place))
        case LetterId():
            reason = app.why_not_folded(wanted)
            verdict = LetterVerdict(str(wanted), reason is None, reason)
            out.show(verdict, lambda: _show_verdict(out, verdict))


def _retry_all(app: App, out: Output) -> None:
    report = RetryReport()
    total = app.control.rejected_count()
    with out.progress("retrying", unit="pieces of rejected input") as progress:
        for report in app.retry().all():
            progress(report.accepted + report.refused, total=total)
    _show_retry(out, report)


def _show_list(out: Output, found: SetAsideList) -> None:
    if not found.first:
        out.line("nothing was set aside")
        return
    out.table(("id", "reason", "place"), [(each.id, each.reason, each.place) for each in found.first])
    total = found.rejected + found.dead_letters
    out.line(f"{found.rejected:,} rejected input, {found.dead_letters:,} dead letters")
    if len(found.first) < total:
        out.line(f"these are the first {len(found.first):,}: kappa dlq list -n {total}", style="dim")


def _show_retry(out: Output, report: RetryReport) -> None:
    def text() -> None:
        out.line(f"appended  {report.appended:,} events from {report.accepted:,} pieces of rejected input")
        if report.refused:
            out.line(f"refused   {report.refused:,}, which stay where they are")
        for each in report.reasons:
            out.line(f"          line {each.line:,} of {printable(each.source)}: {printable(each.reason)}")

    out.show(report, text)


def _show_verdict(out: Output, verdict: LetterVerdict) -> None:
    if verdict.folds:
        out.line("today's code folds this event: replay the log into a new version: kappa plan")
    else:
        out.line(f"today's code cannot fold this event either: {printable(verdict.reason)}")


for command, name in ((list_, "list"), (show, "show"), (retry, "retry")):
    dlq.add_command(command, name)

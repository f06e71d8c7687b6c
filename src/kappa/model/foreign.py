"""Objects of Python and of well-known packages that a deterministic function must not use, and what to do instead.

The list is of names, matched against where an object is defined rather than how it was imported.
"""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import Any, Literal

from kappa.model.source import UNKNOWN, Instance


@dataclass(frozen=True, slots=True)
class Use:
    """Why some objects must not be used.

    Attributes:
        what: What using one of them does.
        remedy: What to do instead.
        names: Where they are defined. A name covers all below it, unless a longer one says otherwise.
        severity: A warning for what makes a replay noisy, not wrong.
    """

    what: str
    remedy: str
    names: frozenset[str]
    severity: Literal["error", "warning"] = "error"


_USES = (
    Use(
        "reads the clock",
        "use event.timestamp: a replay must see the time of the event, not its own",
        frozenset({"time", "datetime.datetime.now", "datetime.datetime.utcnow"})
        | {"datetime.datetime.today", "datetime.date.today"},
    ),
    Use(
        "uses the time zone of the machine",
        "name the zone: datetime.fromtimestamp(seconds, tz=UTC)",
        frozenset({"datetime.date.fromtimestamp", "time.mktime", "time.localtime", "time.tzname", "time.timezone"}),
    ),
    Use(
        "is random",
        "derive the value from the event, for example with zlib.crc32(event.event_id.encode())",
        frozenset({"random", "_random", "secrets", "numpy.random", "uuid.uuid1", "uuid.uuid4"})
        | {"os.urandom", "os.getrandom", "posix.urandom", "posix.getrandom"},
    ),
    Use(
        "differs from one process to the next",
        "use a value of the event; for a stable hash, zlib.crc32 or hashlib",
        frozenset({"builtins.hash", "builtins.id"}),
    ),
    Use(
        "reads the machine's environment",
        "put the value into the event where it is produced, or write it into the module as a constant",
        frozenset({"os", "posix", "nt", "platform", "getpass", "locale", "sys.argv", "posixpath.expandvars"})
        | {"posixpath.abspath", "posixpath.expanduser"},
    ),
    Use(
        "does input or output",
        "do it where events are produced, and put the result into the event",
        frozenset({"builtins.open", "builtins.input", "io", "_io", "sys.stdin", "sys.stdout", "sys.stderr"})
        | {"pathlib", "genericpath", "posixpath.realpath", "posixpath.lexists", "shutil", "tempfile", "glob"}
        | {"subprocess", "socket", "_socket", "ssl", "select", "selectors", "sqlite3", "_sqlite3"}
        | {"http", "urllib.request", "ftplib", "smtplib", "requests", "httpx", "aiohttp", "urllib3"}
        | {"boto3", "psycopg", "psycopg2", "asyncpg", "redis"},
    ),
    Use(
        "starts work beside the fold",
        "do it in place: a row must not depend on which thread or task is faster",
        frozenset({"threading", "_thread", "asyncio", "multiprocessing", "concurrent.futures"}),
    ),
    Use(
        "prints",
        "remove it: a replay prints it again",
        frozenset({"builtins.print", "logging"}),
        "warning",
    ),
)
# Below a forbidden name, but pure.
_PURE = frozenset({"time.strptime", "time.struct_time", "os.fspath", "posix.fspath"})
_PURE |= {"http.HTTPStatus", "http.HTTPMethod"}
_PURE |= {f"{module}.{name}" for module in ("io", "_io") for name in ("StringIO", "BytesIO")}
_PURE |= {f"pathlib.{name}" for name in ("PurePath", "PurePosixPath", "PureWindowsPath")}

_BY_NAME: dict[str, Use | None] = {name: use for use in _USES for name in use.names} | dict.fromkeys(_PURE)


def use_of(value: Any, holder: Any = UNKNOWN, attribute: str = "") -> Use | None:
    """Return why an object must not be used, or None.

    Args:
        value: The object.
        holder: What it is an attribute of, if anything: a constant of a module does not know where it is defined.
        attribute: The attribute's name.

    >>> from datetime import datetime
    >>> use_of(datetime.now).what
    'reads the clock'
    >>> use_of(datetime.fromisoformat) is None
    True
    """
    if value is UNKNOWN or isinstance(value, types.ModuleType | Instance):
        return None
    names = [_defined_as(value)]
    if isinstance(holder, types.ModuleType):
        names.append(f"{holder.__name__}.{attribute}")
    elif holder is not UNKNOWN:
        classes = holder.classes if isinstance(holder, Instance) else (type(holder),)
        lines = [cls.__mro__ for cls in ((holder,) if isinstance(holder, type) else classes)]
        definers = (next((base for base in line if attribute in vars(base)), None) for line in lines)
        names += [f"{_defined_as(definer)}.{attribute}" for definer in definers if definer is not None]
    return next((use for name in names if (use := _nearest(name)) is not None), None)


def _nearest(name: str) -> Use | None:
    """Return the entry of the longest name that covers this one."""
    while name:
        if name in _BY_NAME:
            return _BY_NAME[name]
        name = name.rpartition(".")[0]
    return None


def _defined_as(value: Any) -> str:
    """Return the dotted name under which a function, class or method is defined; of other objects, their type's."""
    match value:
        case type() | types.FunctionType():
            return f"{value.__module__}.{value.__qualname__}"
        case types.MethodDescriptorType() | types.ClassMethodDescriptorType():
            return f"{_defined_as(value.__objclass__)}.{value.__name__}"
        case types.BuiltinFunctionType() | types.MethodType():
            holder = value.__self__
            if holder is None or isinstance(holder, types.ModuleType):
                return f"{value.__module__}.{value.__qualname__}"
            return f"{_defined_as(holder if isinstance(holder, type) else type(holder))}.{value.__name__}"
        case _:
            return _defined_as(type(value))

"""Views: keyed rows folded from events. A view class declares fields, folds and handlers; its instances are rows.

A class is turned into a `ViewSpec` when it is defined, and whatever is wrong with it is reported there. Nothing here
reads a log or a store: `View.fold` runs the real kernel on events in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

import msgspec

from kappa.errors import DefinitionError
from kappa.model.defaults import constant_default
from kappa.model.durations import duration_us
from kappa.model.events import Event, event_spec
from kappa.model.expectations import flaw_of_expectations
from kappa.model.expressions import Expression
from kappa.model.folds import Fold, check_fold, hidden_fields, initial_value
from kappa.model.handlers import Handler, handler_of
from kappa.model.hints import resolve_hints
from kappa.model.migrations import Migrator, migrators_in
from kappa.model.places import calling_frame, place_of_field, place_of_frame
from kappa.model.schema import Column
from kappa.model.types import FieldType, field_type, flaw_of_type
from kappa.model.values import Rejected

# Bumped when the meaning of state bytes changes; a state of another format is never read by mistake.
STATE_FORMAT = 1
SEEN = "_seen_event_ids"
# The offset of the last event folded into a row, kept in the row itself: a table beside the rows would cost an
# eighth of the time of a replay.
OFFSET = "_offset"
_KEY_TYPES = (str, int)


class ViewSpec(msgspec.Struct, frozen=True):
    """What is declared about a view.

    Attributes:
        name: The class's name in snake case.
        key: Names of the key fields, in order.
        hints: Field name -> resolved type, key fields first, hidden fields of folds last.
        folds: Field name -> fold.
        handlers: Event class -> handler.
        dedupe_us: How long an event id is remembered, in event time; 0 for not at all.
        place: `file:line` of the declaration, if known.
        expect: Column, or `rows` -> what a diff with the primary should show; see `model.expectations`.
        migrations: Former version -> what makes rows of its rows.
    """

    name: str
    key: tuple[str, ...]
    hints: Mapping[str, Any]
    folds: Mapping[str, Fold]
    handlers: Mapping[type[Event], Handler]
    dedupe_us: int
    place: str | None
    expect: Mapping[str, str] = {}
    migrations: Mapping[int, Migrator] = {}

    @property
    def events(self) -> tuple[type[Event], ...]:
        """The event types that the view folds, in order of first mention."""
        mentioned = [term.event for fold in self.folds.values() for term in fold.terms]
        return tuple(dict.fromkeys([*mentioned, *self.handlers]))

    @property
    def key_columns(self) -> tuple[Column, ...]:
        """The columns of the key."""
        return tuple(Column(name, field_type(self.hints[name]).column_type) for name in self.key)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The other public columns: every field without a leading underscore."""
        types = {name: field_type(hint) for name, hint in self.hints.items()}
        return tuple(
            Column(name, kind.column_type, nullable=kind.nullable)
            for name, kind in types.items()
            if not name.startswith("_") and name not in self.key
        )


class _ViewMeta(msgspec.StructMeta):
    """Makes a struct of each view class, with folds replaced by their initial values."""

    def __new__(  # noqa: PYI034 - Self cannot be used in a metaclass
        mcls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        key: str | tuple[str, ...] | None = None,
        dedupe: str | None = None,
        expect: Mapping[str, str] | None = None,
        **options: Any,
    ) -> _ViewMeta:
        frame = calling_frame()
        if not bases or bases == (msgspec.Struct,):
            return super().__new__(mcls, name, bases, namespace)
        declaration = _Declaration(name, namespace, frame)
        if bases != (View,):
            raise declaration.wrong("inherits from another view", "derive it from View; share code as plain functions")
        spec = declaration.specify(key=key, dedupe=dedupe, expect=expect or {}, options=options)
        namespace = declaration.struct_namespace(spec)
        options = {"kw_only": True, "gc": False, "array_like": True, "tag": STATE_FORMAT, "tag_field": "_state_format"}
        try:
            cls = super().__new__(mcls, name, bases, namespace, **options)
        except (TypeError, ValueError) as error:
            raise declaration.wrong(
                f"cannot be made a struct: {error}", "declare plain fields with defaults"
            ) from error
        type.__setattr__(cls, "__view__", spec)
        return cls


@dataclass_transform(kw_only_default=True, field_specifiers=(msgspec.field,))
class View(msgspec.Struct, metaclass=_ViewMeta):
    """Base of all views. `key` names the field or fields that events are grouped by.

    Fields need defaults: a row begins before its first event. A field may be a fold; a name with a leading underscore
    is state but no column. With `dedupe="10m"`, an event whose `event_id` was seen within that time is ignored. With
    `expect={"views": "unchanged"}`, a candidate for which that column differs is not promoted.

    >>> class PageView(Event):
    ...     user_id: str
    >>> from kappa.model.folds import count
    >>> class Visitor(View, key="user_id"):
    ...     views: int = count(PageView)
    >>> Visitor.fold([PageView(user_id="ana"), PageView(user_id="ana")]).views
    2
    """

    if TYPE_CHECKING:
        __view__: ClassVar[ViewSpec]

        def __init_subclass__(
            cls, *, key: str | tuple[str, ...], dedupe: str | None = None, expect: Mapping[str, str] | None = None
        ) -> None: ...

    @classmethod
    def fold(cls, events: Iterable[Event | Mapping[str, Any]]) -> Self:
        """Return the row that events of one key give, folded in this order by the kernel itself.

        A dict stands for the JSON of an event of any version. Events that the view does not fold are passed over.

        Raises:
            ValueError: There are no events, or they have different keys.
            FoldFailed: An event would become a dead letter; the message says why.
        """
        from kappa.model.harness import fold_one  # noqa: PLC0415 - the kernel imports this module

        return fold_one(cls, events)

    def __repr__(self) -> str:
        public = [name for name in type(self).__view__.hints if not name.startswith("_")]
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in public)
        return f"{type(self).__name__}({fields})"


def view_spec(view: type[View]) -> ViewSpec:
    """Return what is declared about a view."""
    return view.__view__


def view_name(class_name: str) -> str:
    """Return a view's name.

    >>> view_name("UserProfile"), view_name("HTTPRoute2Count")
    ('user_profile', 'http_route2_count')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", class_name).lower()


class _Declaration:
    """One view class on its way to a struct: takes the class body apart and puts it together again."""

    def __init__(self, name: str, namespace: dict[str, Any], frame: FrameType | None) -> None:
        self.name, self.namespace, self.frame = name, namespace, frame
        self.folds = {field: value for field, value in namespace.items() if isinstance(value, Fold)}
        self.handlers = self._handlers()

    def specify(self, *, key: Any, dedupe: Any, expect: Any, options: dict[str, Any]) -> ViewSpec:
        """Check the declaration and return it as values."""
        if options:
            raise self.wrong(
                f"has no option {', '.join(options)}", "the options of a view are key=, dedupe= and expect="
            )
        names = self._key_names(key)
        declared = resolve_hints(self.namespace, self.frame, what=f"view {self.name}")
        self._check_fields(declared, names)
        spec = ViewSpec(
            name=view_name(self.name),
            key=names,
            hints=declared,
            folds=self.folds,
            handlers=self.handlers,
            dedupe_us=self._dedupe_us(dedupe),
            place=place_of_frame(self.frame),
            expect=expect,
            migrations=migrators_in(self.namespace, view=self.name),
        )
        self._check_events(spec)
        hints = {name: self._key_hint(name, declared, spec.events) for name in names}
        hints |= {name: hint for name, hint in declared.items() if name not in names}
        hidden = {name: hint for name, hint, _ in self._hidden(spec)}
        self._check_names(hints)
        self._check_handlers(declared, hidden, names)
        spec = msgspec.structs.replace(spec, hints=hints | hidden | {OFFSET: int})
        if (flaw := flaw_of_expectations(expect, [column.name for column in spec.columns])) is not None:
            raise self.wrong(*flaw)
        return spec

    def struct_namespace(self, spec: ViewSpec) -> dict[str, Any]:
        """Return the class body with types resolved, defaults made constant, and the state of folds added."""
        body = self.namespace | {each.name: staticmethod(each.function) for each in spec.migrations.values()}
        body["__annotations__"] = {name: field_type(hint).wire for name, hint in spec.hints.items()}
        for name, hint in spec.hints.items():
            kind = field_type(hint)
            if name in spec.key:
                body[name] = kind.base()  # the kernel sets the key before anything can see the row
            elif name in self.folds:
                body[name] = initial_value(self.folds[name], hint)
            elif name in body:
                body[name] = self._default(name, body[name], kind)
        return body | {name: initial for name, _, initial in self._hidden(spec)} | {OFFSET: -1}

    def wrong(
        self, message: str, next_step: str, *, field: str | None = None, where: str | None = None
    ) -> DefinitionError:
        """Return the error that says what is wrong with this view, or with one of its fields."""
        if where is None:
            where = place_of_frame(self.frame) if field is None else place_of_field(self.frame, field)
        return DefinitionError(f"view {self.name} {message}", next_step=next_step, where=where)

    def _key_names(self, key: Any) -> tuple[str, ...]:
        names = (key,) if isinstance(key, str) else tuple(key) if isinstance(key, tuple | list) else ()
        if not names or not all(isinstance(name, str) and name for name in names):
            raise self.wrong("has no key", f'write class {self.name}(View, key="user_id")')
        if len(set(names)) < len(names):
            raise self.wrong(f"is keyed by {', '.join(names)}: one of them twice", "name each field once")
        return names

    def _check_fields(self, hints: Mapping[str, Any], key: tuple[str, ...]) -> None:
        for name, fold in self.folds.items():
            if name not in hints:
                raise self.wrong(f"folds into '{name}' without a type", f"write {name}: int = ...", where=fold.place)
            if name in key:
                raise self.wrong(f"cannot fold into its key '{name}'", "fold into another field", where=fold.place)
            check_fold(fold, hints[name], view=self.name, field=name)
        for name, hint in hints.items():
            if (flaw := flaw_of_type(hint)) is not None:
                raise self.wrong(f"has a field '{name}' that {flaw[0]}", flaw[1], field=name)
            if name not in self.namespace and name not in key:
                raise self.wrong(
                    f"gives field '{name}' no default, but a row begins before its first event",
                    f"write {name}: ... = <default>",
                    field=name,
                )
        for name in _RESERVED_METHODS & self.namespace.keys():
            raise self.wrong(
                f"cannot have {name}: rows are made and read back by the kernel", "use defaults and handlers"
            )

    def _check_names(self, names: Iterable[str]) -> None:
        columns: dict[str, str] = {}
        for name in names:
            if name.startswith("__") or name in _RESERVED:
                raise self.wrong(f"cannot have a field '{name}'", "choose another name: this one is taken", field=name)
            first = name if name.startswith("_") else columns.setdefault(name.lower(), name)
            if first != name:
                raise self.wrong(
                    f"has fields '{first}' and '{name}', which are one column in SQL", "rename one of them", field=name
                )

    def _check_events(self, spec: ViewSpec) -> None:
        if not spec.events:
            raise self.wrong("folds no event", "declare a fold, total: int = count(OrderPlaced), or a handler with @on")
        if "__" in spec.name:
            raise self.wrong(f"would be called {spec.name}", "leave out double underscores: they part name and version")
        types: dict[str, type[Event]] = {}
        for event in spec.events:
            first = types.setdefault(event_spec(event).name, event)
            if first is not event:
                raise self.wrong(
                    f"folds two event types called {event.__name__}: from {first.__module__} and {event.__module__}",
                    "rename one of the classes: in the log they cannot be told apart",
                )
        for event in spec.events if spec.dedupe_us else ():
            if field_type(event_spec(event).hints.get("event_id")).base is not str:
                raise self.wrong(
                    f"removes duplicates, but event {event.__name__} has no event_id",
                    f"add event_id: str to {event.__name__}, or leave out dedupe=",
                )

    def _handlers(self) -> dict[type[Event], Handler]:
        handlers: dict[type[Event], Handler] = {}
        for name, value in self.namespace.items():
            if (handler := handler_of(name, value)) is None:
                continue
            first = handlers.setdefault(handler.event, handler)
            if first is not handler:
                raise self.wrong(
                    f"has two handlers for {handler.event.__name__}: {first.name} and {handler.name}",
                    "merge them into one: the order of two would be an accident",
                    where=handler.place,
                )
        return handlers

    def _check_handlers(self, hints: Mapping[str, Any], hidden: Mapping[str, Any], key: tuple[str, ...]) -> None:
        for handler in self.handlers.values():
            for name, line in sorted(handler.row.writes.items()):
                message, remedy = None, "keep what the handler computes in another field"
                if name in self.folds or name in key:
                    message = (
                        f"sets '{name}' in handler {handler.name}, but it is {'the key' if name in key else 'a fold'}"
                    )
                elif name not in hints and name not in self.namespace and name not in hidden:
                    message = f"sets '{name}' in handler {handler.name}, but has no such field"
                    remedy = f"declare the field: {name}: ... = <default>"
                if message is not None:
                    raise self.wrong(message, remedy, where=_line_in(handler.place, line))
            for name, line in handler.row.deletes.items():
                raise self.wrong(
                    f"deletes '{name}' in handler {handler.name}",
                    "set it to None or to its default: a row has all its fields",
                    where=_line_in(handler.place, line),
                )
            for name in sorted(handler.row.reads | handler.row.writes.keys()):
                if name in hidden:
                    raise self.wrong(
                        f"uses '{name}' in handler {handler.name}, which is the state of a fold",
                        "keep what the handler needs in a field of its own",
                        where=handler.place,
                    )

    def _key_hint(self, name: str, declared: Mapping[str, Any], events: tuple[type[Event], ...]) -> Any:
        """Return the type of a key field: as declared, or as the events have it."""
        found = {event: event_spec(event).hints.get(name) for event in events}
        for event, hint in found.items():
            if hint is None:
                raise self.wrong(
                    f"is keyed by '{name}', which event {event.__name__} does not have",
                    f"add the field to {event.__name__}, or choose a key that every event of the view has",
                )
            wanted = field_type(declared.get(name, found[events[0]])).base
            if field_type(hint).base is not wanted or wanted not in _KEY_TYPES:
                raise self.wrong(
                    f"is keyed by '{name}', which is {field_type(hint)} in {event.__name__}",
                    "a key field is str or int, and the same in every event",
                )
        return field_type(found[events[0]]).base

    def _dedupe_us(self, dedupe: Any) -> int:
        try:
            return 0 if dedupe is None else duration_us(str(dedupe))
        except ValueError as error:
            raise self.wrong(f"has dedupe={dedupe!r}: {error}", 'write dedupe="10m"') from None

    def _default(self, name: str, value: Any, kind: FieldType) -> Any:
        if isinstance(value, Expression):
            raise self.wrong(
                f"takes {value} as the default of '{name}'", f"write {name}: ... = latest({value})", field=name
            )
        try:
            return constant_default(value, kind, what=f"the default of '{name}'")
        except Rejected as error:
            remedy = "write a constant of the field's type"
            raise self.wrong(f"has a field that cannot begin: {error}", remedy, field=name) from error

    def _hidden(self, spec: ViewSpec) -> list[tuple[str, Any, Any]]:
        """Return (name, type, initial value) of the state kept beside the declared fields."""
        hidden = [
            (f"_{name}_{part.suffix}", part.type, part.initial)
            for name, fold in self.folds.items()
            for part in hidden_fields(fold, spec.hints[name])
        ]
        if spec.dedupe_us:
            hidden.append((SEEN, dict[str, int], {}))
        for name, *_ in hidden:
            if name in self.namespace:
                raise self.wrong(f"cannot have a field '{name}'", "rename it: a fold keeps its state under this name")
        return hidden


_RESERVED = {"fold", OFFSET}
_RESERVED_METHODS = {"__init__", "__post_init__", "__setattr__", "__delattr__", "__getattribute__"}


def _line_in(place: str | None, line: int) -> str | None:
    return None if place is None else f"{place.rpartition(':')[0]}:{line}"

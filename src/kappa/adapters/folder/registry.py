"""The schema registry in a folder that is committed with the project: a file per schema, `SUBJECT/NUMBER.json`.

So a change of an event is reviewed like any other change, and CI checks it without a server.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, unquote

import msgspec

from kappa.adapters.folder.files import file_errors, write_new
from kappa.errors import StoreUnavailable
from kappa.model.event_schema import Schema
from kappa.ports.registry import RegisteredSchema


class FolderRegistry:
    """Schemas below a folder, which is made when the first one is registered. For any number of processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def subjects(self) -> Sequence[str]:
        with file_errors(self._folder):
            if not self._folder.exists():
                return []
            return sorted(unquote(folder.name) for folder in self._folder.iterdir() if any(folder.glob("*.json")))

    def schemas(self, subject: str) -> Sequence[RegisteredSchema]:
        with file_errors(self._folder):
            files = {int(file.stem): file for file in self._of(subject).glob("*.json") if file.stem.isdecimal()}
            return [RegisteredSchema(subject, number, _read(files[number])) for number in sorted(files)]

    def register(self, subject: str, schema: Schema) -> RegisteredSchema:
        content = msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"
        with file_errors(self._folder):
            while True:
                registered = self.schemas(subject)
                for each in registered:
                    if each.schema == schema:
                        return each
                number = registered[-1].number + 1 if registered else 1
                try:
                    write_new(self._of(subject) / f"{number}.json", content)
                except FileExistsError:  # somebody else was faster: look at what is there now
                    continue
                return RegisteredSchema(subject, number, schema)

    def close(self) -> None:
        pass

    def _of(self, subject: str) -> Path:
        return self._folder / quote(subject, safe=" ")


def _read(file: Path) -> Schema:
    try:
        schema: dict[str, object] = msgspec.json.decode(file.read_bytes(), type=dict)
    except ValueError as error:
        damaged = StoreUnavailable(
            store=str(file), cause=f"it is no JSON object: {error}", next_step="restore it from the project's history"
        )
        damaged.retryable = False
        raise damaged from error
    return schema

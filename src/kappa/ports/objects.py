"""The object store: bytes under keys, for what is written once, read whole and too large for the control store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

KEY_LENGTH_MAX = 500  # characters; S3 allows 1,024 bytes, and a folder's file names are shorter


class ObjectStore(Protocol):
    """Objects by key, such as `bundles/4f2a.zip`. An object is there as a whole or not at all, whoever is killed when.

    A key is made of parts with a slash between them; a part is letters, digits and `._-=`, and not `.` or `..`. No key
    may be the beginning of another one that goes on with a slash: what is a file cannot be a folder.

    Every method may raise `StoreUnavailable`, and those that write `StorageFull`. Nothing is then written. Retry.
    """

    def put(self, key: str, content: bytes) -> None:
        """Store an object, in place of one that is there.

        Raises:
            ObjectExists: An object's key begins with `key` and a slash, or the reverse.
        """

    def put_new(self, key: str, content: bytes) -> None:
        """Store an object unless there is one: of several callers at once, one succeeds.

        Raises:
            ObjectExists: There is one, or an object's key begins with `key` and a slash, or the reverse.
        """

    def get(self, key: str) -> bytes:
        """Return an object's content.

        Raises:
            ObjectNotFound: There is none.
        """

    def exists(self, key: str) -> bool:
        """Say whether there is an object of this key."""

    def keys(self, prefix: str = "") -> Sequence[str]:
        """Return the keys that begin with `prefix`, sorted."""

    def delete(self, key: str) -> None:
        """Delete an object. Idempotent."""

    def close(self) -> None:
        """Release connections. Idempotent."""


def check_key(key: str) -> None:
    """Refuse what is no key: a mistake of ours, since no key comes from outside.

    >>> check_key("bundles/4f2a.zip")
    >>> check_key("bundles/../control.db")
    Traceback (most recent call last):
    AssertionError: bundles/../control.db
    """
    assert len(key) <= KEY_LENGTH_MAX, key
    assert all(part not in ("", ".", "..") and set(part) <= _ALLOWED for part in key.split("/")), key


_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-=")

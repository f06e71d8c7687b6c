"""The laws of the `ObjectStore` port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from kappa.errors import ObjectExists, ObjectNotFound
from kappa.ports.objects import ObjectStore
from kappa.testing.conformance import Conformance
from kappa.testing.eventually import eventually
from kappa.testing.processes import put_again_and_again, put_first, run_and_kill, run_together

# So many that a store which looks first and writes later is found out.
_RACES = 300
_MANY = 1_200  # more than S3 lists in one answer


class ObjectStoreConformance(Conformance):
    """Laws of an object store. An adapter gives the fixture `open_objects`: a picklable function that opens one, empty.

    Picklable, because some laws hold between processes: `functools.partial(FolderObjects, tmp_path)`.
    """

    @pytest.fixture
    def objects(self, open_objects: Callable[[], ObjectStore]) -> Iterator[ObjectStore]:
        """A store that holds nothing."""
        with closing(open_objects()) as objects:
            yield objects

    @pytest.mark.parametrize("content", [b"", b"\0\xff", bytes(range(256)) * 40_000])
    def test_an_object_comes_back_as_it_was_put(self, objects: ObjectStore, content: bytes) -> None:
        objects.put("bundles/4f2a.zip", content)

        assert objects.get("bundles/4f2a.zip") == content
        assert objects.exists("bundles/4f2a.zip")

    def test_an_object_put_again_takes_the_place_of_the_first(self, objects: ObjectStore) -> None:
        objects.put("a", b"first")
        objects.put("a", b"second")

        assert (objects.get("a"), objects.keys()) == (b"second", ["a"])

    def test_an_object_put_as_new_never_takes_the_place_of_another(self, objects: ObjectStore) -> None:
        objects.put_new("a/b", b"first")

        with pytest.raises(ObjectExists) as refusal:
            objects.put_new("a/b", b"second")

        assert refusal.value.key == "a/b"
        assert objects.get("a/b") == b"first"

    def test_an_object_that_is_not_there_is_named(self, objects: ObjectStore) -> None:
        objects.put("a/b", b"")

        assert not objects.exists("c")
        for key in ("c", "a/c"):
            with pytest.raises(ObjectNotFound) as refusal:
                objects.get(key)
            assert refusal.value.key == key

    def test_the_beginning_of_a_key_is_no_object(self, objects: ObjectStore) -> None:
        objects.put("a/b/c", b"")

        assert [objects.exists(key) for key in ("a", "a/b", "a/b/c", "a/b/c/d")] == [False, False, True, False]
        with pytest.raises(ObjectNotFound):
            objects.get("a/b")
        objects.delete("a/b")
        assert objects.keys() == ["a/b/c"]

    @pytest.mark.parametrize(("there", "put"), [("a/b", "a"), ("a", "a/b")])
    def test_a_key_that_begins_another_is_refused(self, objects: ObjectStore, there: str, put: str) -> None:
        objects.put(there, b"first")

        for write in (objects.put, objects.put_new):
            with pytest.raises(ObjectExists):
                write(put, b"second")

        assert (objects.keys(), objects.get(there)) == ([there], b"first")

    def test_keys_are_listed_sorted_and_by_their_beginning(self, objects: ObjectStore) -> None:
        for key in ("b/2", "a-1", "b/1", "a/1", "b/sub/3"):
            objects.put(key, b"")

        assert objects.keys() == ["a-1", "a/1", "b/1", "b/2", "b/sub/3"]
        assert objects.keys("b/") == ["b/1", "b/2", "b/sub/3"]
        assert objects.keys("b/s") == ["b/sub/3"]
        assert objects.keys("c") == []

    @pytest.mark.slow
    def test_no_key_of_many_is_left_out(self, objects: ObjectStore) -> None:
        keys = [f"many/{number:04}" for number in range(_MANY)]
        for key in keys:
            objects.put(key, b"")

        assert objects.keys("many/") == keys

    def test_a_deleted_object_is_gone_and_so_are_the_parts_of_its_key(self, objects: ObjectStore) -> None:
        objects.put("a/b/c", b"")

        objects.delete("a/b/c")
        objects.delete("a/b/c")
        objects.delete("never")

        assert objects.keys() == []
        objects.put("a", b"now a can be a key itself")
        assert objects.keys() == ["a"]

    def test_of_several_that_put_a_new_object_one_succeeds(
        self, open_objects: Callable[[], ObjectStore], objects: ObjectStore
    ) -> None:
        keys = [f"race/{number}" for number in range(_RACES)]
        contents = [b"one", b"two"]

        won = run_together(put_first, *((open_objects, keys, content) for content in contents))

        for key in keys:
            (winner,) = (content for keys_won, content in zip(won, contents, strict=True) if key in keys_won)
            assert objects.get(key) == winner

    def test_an_object_is_whole_or_absent_whoever_is_killed(
        self, open_objects: Callable[[], ObjectStore], objects: ObjectStore
    ) -> None:
        size_bytes = 4_000_000
        run_and_kill(put_again_and_again, open_objects, "a/b", size_bytes, when=lambda: objects.exists("a/b"))

        # A server may still be busy with what the killed process sent last.
        content = eventually(lambda: objects.get("a/b"))

        assert len(content) == size_bytes
        assert len(set(content)) == 1
        assert objects.keys() == ["a/b"]

    def test_objects_outlive_their_users(self, open_objects: Callable[[], ObjectStore]) -> None:
        with closing(open_objects()) as objects:
            objects.put("a", b"1")

        with closing(open_objects()) as objects:
            assert objects.get("a") == b"1"

    def test_closing_twice_is_harmless(self, objects: ObjectStore) -> None:
        objects.close()
        objects.close()

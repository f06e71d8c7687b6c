"""The object store in S3 keeps the laws of an object store, against a real gateway, and bears its faults."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
from servers.conftest import free_port, gateway

from kappa.adapters.s3.objects import S3Objects
from kappa.errors import ObjectNotFound, StorageFull, StoreUnavailable
from kappa.testing.objects_conformance import ObjectStoreConformance


class TestS3Objects(ObjectStoreConformance):
    races: ClassVar = {
        "test_of_several_that_put_a_new_object_one_succeeds": "VersityGW looks at If-None-Match first and writes later",
    }

    @pytest.fixture
    def open_objects(self, s3, bucket: str) -> Callable[[], S3Objects]:
        return partial(S3Objects, bucket, "project/shop", endpoint_url=s3.url)


@pytest.fixture
def open_s3(s3) -> Iterator[Callable[..., S3Objects]]:
    """Open stores that are closed when the test ends."""
    with ExitStack() as opened:

        def opening(bucket: str, prefix: str = "", *, url: str = s3.url) -> S3Objects:
            return opened.enter_context(closing(S3Objects(bucket, prefix, endpoint_url=url)))

        yield opening


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 4 MiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(tmp_path)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small disk can be made here: {mounted.stderr.decode().strip()}")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)  # noqa: S607 - as above


def test_two_prefixes_of_a_bucket_are_apart(open_s3, bucket):
    one, two = (open_s3(bucket, prefix) for prefix in ("one", "two"))
    one.put("a", b"1")

    assert (one.keys(), two.keys(), two.exists("a")) == (["a"], [], False)
    with pytest.raises(ObjectNotFound, match=f"s3://{bucket}/two/ holds no object 'a'"):
        two.get("a")


def test_a_gateway_that_is_not_there_is_named_and_may_be_asked_again(open_s3, bucket):
    objects = open_s3(bucket, url="http://127.0.0.1:1")

    with pytest.raises(StoreUnavailable, match=f"could not use s3://{bucket}/: Could not connect") as failure:
        objects.get("a")

    assert failure.value.retryable


def test_work_goes_on_once_the_gateway_is_back(open_s3, tmp_path):
    (tmp_path / "bucket").mkdir()
    port = free_port()
    objects = open_s3("bucket", url=f"http://127.0.0.1:{port}")
    with gateway(tmp_path, port):
        objects.put("a", b"1")

    with pytest.raises(StoreUnavailable):
        objects.put("a", b"2")

    with gateway(tmp_path, port):
        assert objects.get("a") == b"1"
        objects.put("a", b"2")


def test_a_full_store_takes_nothing_and_work_goes_on_when_there_is_room(open_s3, small_disk):
    (small_disk / "bucket").mkdir()
    port = free_port()
    with gateway(small_disk, port):
        objects = open_s3("bucket", url=f"http://127.0.0.1:{port}")
        objects.put("a", bytes(3_000_000))

        with pytest.raises(StorageFull, match="s3://bucket/"):
            objects.put("b", bytes(3_000_000))

        assert objects.keys() == ["a"]
        objects.delete("a")
        objects.put("b", bytes(3_000_000))
        assert objects.get("b") == bytes(3_000_000)


@pytest.mark.parametrize("wrong", ["bucket", "credentials"])
def test_what_does_not_change_by_itself_is_final(open_s3, bucket, wrong, monkeypatch):
    if wrong == "credentials":
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    objects = open_s3("no-such-bucket" if wrong == "bucket" else bucket)

    with pytest.raises(StoreUnavailable) as failure:
        objects.put("a", b"1")

    assert not failure.value.retryable

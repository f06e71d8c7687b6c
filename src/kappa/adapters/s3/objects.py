"""The object store in a bucket of S3, or of anything that has its API: a key is the object's key behind a prefix.

boto3 is used because it is what knows where credentials are: the environment, files, a container's or machine's role.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from kappa.errors import ObjectExists, ObjectNotFound, ProjectError, StorageFull, StoreUnavailable
from kappa.ports.objects import check_key

# Of one attempt. Objects are up to some 64 MB; what is slower than this stands still.
_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S = 5, 60
_ATTEMPTS_MAX = 3

_NOT_FOUND = {"NoSuchKey", "404", "NotFound"}
# Of VersityGW, which keeps objects as files: a folder is in the way, or a file where a folder would be.
_IN_THE_WAY = {"ExistingObjectIsDirectory", "ObjectParentIsFile"}
_EXISTS = {"PreconditionFailed", "412", "ConditionalRequestConflict"} | _IN_THE_WAY
_FULL = {"XMinioStorageFull", "InsufficientStorage", "QuotaExceeded", "507"}
# Nothing changes by trying again.
_FINAL = {"AccessDenied", "403", "NoSuchBucket", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidBucketName"}


class S3Objects:
    """Objects in a bucket, which is there already. For any number of processes; not for use by two threads."""

    def __init__(self, bucket: str, prefix: str = "", *, endpoint_url: str = "") -> None:
        """Prepare to use a bucket; nothing is asked yet. An empty `endpoint_url` stands for Amazon's.

        Raises:
            ProjectError: boto3 refuses the address.
        """
        self._bucket, self._prefix = bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._name = f"s3://{bucket}/{self._prefix}"
        config = Config(
            connect_timeout=_CONNECT_TIMEOUT_S,
            read_timeout=_READ_TIMEOUT_S,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS_MAX},
            # Other servers have no name in the DNS for each bucket.
            s3={"addressing_style": "path" if endpoint_url else "auto"},
        )
        try:
            self._client: Any = boto3.Session().client("s3", endpoint_url=endpoint_url or None, config=config)
        except ValueError as error:
            raise ProjectError(f"[objects]: {error}", next_step="see docs/configuration.md") from error

    def put(self, key: str, content: bytes) -> None:
        self._refuse_what_is_in_the_way(key)
        with self._errors(key):
            self._client.put_object(**self._at(key), Body=content)

    def put_new(self, key: str, content: bytes) -> None:
        self._refuse_what_is_in_the_way(key)
        with self._errors(key):
            self._client.put_object(**self._at(key), Body=content, IfNoneMatch="*")

    def get(self, key: str) -> bytes:
        with self._errors(key):
            content: bytes = self._client.get_object(**self._at(key))["Body"].read()
            return content

    def exists(self, key: str) -> bool:
        try:
            with self._errors(key):
                self._client.head_object(**self._at(key))
        except ObjectNotFound:
            return False
        return True

    def keys(self, prefix: str = "") -> Sequence[str]:
        with self._errors(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            found = [each["Key"] for page in pages for each in page.get("Contents", ())]
        # A gateway that keeps files shows its folders, too.
        return sorted(key.removeprefix(self._prefix) for key in found if not key.endswith("/"))

    def delete(self, key: str) -> None:
        try:
            with self._errors(key):
                self._client.delete_object(**self._at(key))
        except (ObjectNotFound, ObjectExists):  # nothing there, or the beginning of other keys
            return

    def close(self) -> None:
        self._client.close()

    def _at(self, key: str) -> dict[str, str]:
        check_key(key)
        return {"Bucket": self._bucket, "Key": self._prefix + key}

    def _refuse_what_is_in_the_way(self, key: str) -> None:
        """Refuse a key that begins another, which Amazon's S3 allows and a folder does not.

        Two that put both at once are not found out; they would have to choose such keys first.
        """
        parts = key.split("/")
        above = ("/".join(parts[:length]) for length in range(1, len(parts)))
        if self.keys(f"{key}/") or any(self.exists(each) for each in above):
            raise ObjectExists(store=self._name, key=key)

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """Translate what boto3 raises about a key."""
        try:
            yield
        except ClientError as error:
            raise self._translated(error.response, key) from error
        except BotoCoreError as error:
            next_step = "check that it runs, [objects] in kappa.toml, and the credentials in the environment"
            raise StoreUnavailable(store=self._name, cause=str(error), next_step=next_step) from error

    def _translated(self, response: Any, key: str) -> Exception:
        said, status = response.get("Error", {}), str(response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
        code = said.get("Code", "")
        cause = f"{code}: {said.get('Message', '')}"
        if code in _NOT_FOUND:
            return ObjectNotFound(store=self._name, key=key)
        if code in _EXISTS:
            return ObjectExists(store=self._name, key=key)
        if code in _FULL or status == "507" or "no space left" in cause.lower():
            return StorageFull(store=self._name, cause=cause)
        unavailable = StoreUnavailable(store=self._name, cause=cause, next_step="check [objects] in kappa.toml")
        unavailable.retryable = code not in _FINAL
        return unavailable

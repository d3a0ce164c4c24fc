"""Blobs in an object store (S3 and compatible services, Google Cloud Storage, Azure), through obstore.

Location and credentials come from the URI and from the environment variables that the clouds' own tools read. Every
blob is uploaded in one request, so an interrupted upload leaves nothing, not even parts that cost money. The request
for a blob that must be new carries the condition that the blob does not exist, which the service checks.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore, from_url

from nrf_ray.errors import StoreError, StoreFailed
from nrf_ray.graph.uri import without_secrets

RETRIES = 8
RETRY_SECONDS = 15.0
"""Time without success after which an operation fails: a brief network failure passes, and you never wait minutes."""
CONNECT_TIMEOUT = "5s"
REQUEST_TIMEOUT = "10m"
"""Long enough for a shard of ImageNet's pixels over a slow line; most requests take milliseconds."""


class Service(NamedTuple):
    """A kind of object store."""

    title: str
    """Name of the service in messages."""
    variables: str
    """Prefix of its environment variables."""
    credentials: str
    """Instructions for giving credentials, in messages."""
    part: str = "BUCKET"
    """Noun for the first part of its URIs."""


_S3 = Service(
    "S3",
    "AWS",
    "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION (profiles in ~/.aws are not read: "
    '`eval "$(aws configure export-credentials --format env)"` sets these variables), and AWS_ENDPOINT_URL for another '
    "service than Amazon's",
)
_GCS = Service("Google Cloud Storage", "GOOGLE", "set GOOGLE_APPLICATION_CREDENTIALS to the path of a key file")
_AZURE = Service("Azure", "AZURE", "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY", "CONTAINER")
SERVICES = {"s3": _S3, "gs": _GCS, **dict.fromkeys(("az", "abfs", "abfss"), _AZURE)}
"""Services by the scheme of the URI."""


class Bucket:
    """Bytes under names below a prefix of a bucket."""

    def __init__(self, uri: str) -> None:
        """Open the bucket and prefix that `uri` names, without a request to the service."""
        self._uri = uri
        self._service = _service_of(uri)
        with self._explained():
            self._store: ObjectStore = from_url(
                uri,
                client_options={
                    "connect_timeout": CONNECT_TIMEOUT,
                    "timeout": REQUEST_TIMEOUT,
                    "allow_http": os.environ.get(f"{self._service.variables}_ALLOW_HTTP", "").lower() == "true",
                },
                retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
            )

    def get(self, name: str) -> bytes | None:
        """Return the bytes under `name`, or None if there are none."""
        with self._explained():
            try:
                return bytes(obstore.get(self._store, name).bytes())
            except FileNotFoundError as error:
                _check_bucket(error)
                return None

    def exists(self, name: str) -> bool:
        """Return whether there is a blob under `name`."""
        with self._explained():
            try:
                obstore.head(self._store, name)
            except FileNotFoundError:  # also if the bucket is missing: the answer to HEAD does not say which
                return False
            return True

    def put_new(self, name: str, data: bytes) -> bool:
        """Write a blob and return True; if it exists already, change nothing and return False."""
        with self._explained():
            try:
                obstore.put(self._store, name, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
            return True

    def replace(self, name: str, data: bytes) -> None:
        """Write a blob; replace an existing one."""
        with self._explained():
            obstore.put(self._store, name, data, mode="overwrite", use_multipart=False)

    def move(self, source: str, target: str) -> None:
        """Rename a blob by copying and then deleting it; do nothing if `source` does not exist."""
        with self._explained():
            try:
                obstore.rename(self._store, source, target)
            except FileNotFoundError as error:
                _check_bucket(error)

    def delete(self, name: str) -> None:
        """Delete a blob; do nothing if it does not exist."""
        with self._explained():
            try:
                obstore.delete(self._store, name)
            except FileNotFoundError as error:
                _check_bucket(error)

    def under(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the name and size of every blob below the folder `prefix`."""
        with self._explained():
            for batch in obstore.list(self._store, prefix or None):
                for found in batch:
                    yield found["path"], found["size"]

    def any(self) -> bool:
        """Return whether there is any blob below the prefix of the URI."""
        with self._explained():
            return any(batch for batch in obstore.list(self._store, chunk_size=1))

    def folders(self, prefix: str) -> list[str]:
        """Return the names of the folders directly below the folder `prefix`."""
        with self._explained():
            listing = obstore.list_with_delimiter(self._store, prefix or None)
            return [path.rpartition("/")[2] for path in listing["common_prefixes"]]

    def remove_empty(self, name: str) -> None:
        """Do nothing: an object store has no folders."""

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn an error of the service into a StoreFailed that says what to do."""
        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            raise StoreFailed(f"the store {self._uri} cannot be used: {self._explain(error)}") from error

    def _explain(self, error: Exception) -> str:
        text, first = str(error), str(error).partition("\n")[0]
        service, prefix = self._service, self._service.variables
        hints = {
            "NoSuchBucket": "there is no such bucket; make it first, or check its name",
            "container does not exist": "there is no such container; make it first, or check its name",
            "BadScheme": f"its address is plain http; set {prefix}_ALLOW_HTTP=true if you trust the network",
            "Account must be specified": service.credentials,
            "169.254.169.254": f"no credentials were found; {service.credentials}",
            "latest/api/token": f"no credentials were found; {service.credentials}",
            "error sending request": "nothing answers there; check the address and the network",
        }
        for sign, hint in hints.items():
            if sign in text:
                return hint
        if isinstance(error, PermissionDeniedError | UnauthenticatedError) or "403 Forbidden" in first:
            return f"{service.title} denies access; check the credentials and their rights to read and write there"
        return f"{without_secrets(first)}; fix the cause, then run the same command again"


def _check_bucket(error: FileNotFoundError) -> None:
    """Raise `error` if the bucket is missing, not only the blob."""
    if "NoSuchBucket" in str(error):
        raise error


def _service_of(uri: str) -> Service:
    """Return the service that `uri` names; raise StoreError if it names none, or has credentials or a query in it."""
    parts = urlsplit(uri)
    if parts.scheme not in SERVICES:
        raise StoreError(
            f"no store can be opened at {without_secrets(uri)}; give a folder, or s3://BUCKET/PREFIX, "
            "gs://BUCKET/PREFIX, az://CONTAINER/PREFIX"
        )
    service = SERVICES[parts.scheme]
    # In abfs://CONTAINER@ACCOUNT/... the part that looks like a user is the container.
    if parts.password or parts.query or (parts.username and not parts.scheme.startswith("abfs")):
        raise StoreError(
            f"the store {without_secrets(uri)} was given with credentials in its address, where others can read them; "
            f"leave them out and {service.credentials}"
        )
    if service.part and not parts.netloc:
        raise StoreError(f"{uri} names no {service.part.lower()}; write {parts.scheme}://{service.part}/PREFIX")
    return service

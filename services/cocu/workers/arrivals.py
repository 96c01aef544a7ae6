"""What happens when the file of an upload lies in the store, however it came there."""

from __future__ import annotations

from dataclasses import dataclass

from cocu.errors import CocuError
from cocu.platform import Platform
from cocu.storage.catalog import uploads
from cocu.storage.catalog.uploads import UploadRecord
from cocu.storage.objects import StoredObject


@dataclass(frozen=True)
class Received:
    """An upload that has arrived; `new` unless the same content had arrived before."""

    upload: UploadRecord
    new: bool


def register(
    platform: Platform,
    *,
    tenant: str,
    upload_id: str,
    stored: StoredObject,
    max_tenant_bytes: int | None = None,
) -> Received:
    """Make a stored object the file of an upload, and plan its ingest; deletes one that is not needed.

    Raises ConflictError where other content has the upload's name, LimitExceededError.
    """
    try:
        upload, planned = uploads.receive(
            platform.catalog,
            tenant=tenant,
            upload_id=upload_id,
            object_path=stored.path,
            size=stored.size,
            sha256=stored.sha256,
            max_tenant_bytes=max_tenant_bytes,
        )
    except CocuError:
        platform.objects.delete(stored.path)
        raise
    if not planned:
        if upload.object_path != stored.path:  # else it is the very same object, told of twice
            platform.objects.delete(stored.path)
        return Received(upload=upload, new=False)
    platform.enqueue(planned)
    return Received(upload=upload, new=True)

"""Every error of the platform, one tree; the API maps it to problems in one place.

    CocuError
    ├── InvalidInputError          what the caller gave is wrong; says what, with what, and what to do   (422)
    │   ├── InvalidBundleError     an encoder bundle is incomplete or inconsistent
    │   └── FetchRefusedError      an address that must not be fetched      (formats/http_fetch.py)
    ├── BadRequestError            HTTP that does not add up: lengths, digests  (api/problems.py)        (400)
    ├── NotFoundError              no such dataset, sample, curation … for this tenant                   (404)
    ├── ConflictError              it exists already, or its state does not allow the call               (409)
    │   ├── BusyError              another writer has the upload            (storage/partial_upload.py)
    │   └── InFlightError          the first request with this key runs     (catalog/idempotency.py)
    ├── LimitExceededError         larger than a limit allows                                            (413)
    ├── UnavailableError           a part (vectors, objects, encoder) does not answer; try again         (503)
    │   ├── NoRoomError            a disk or a quota is full: what waits goes on when there is room
    │   ├── ExhaustedError         no descriptors, threads or memory are left to this process
    │   └── FetchFailedError       an address that does not answer          (formats/http_fetch.py)
    ├── MachineError               a missing permission, a broken disk: its operator must act            (500)
    │   └── RefusedError           a part of the platform refuses what it was asked, and would again
    └── IntegrityError             stored data is not what its hash, shape or count says                 (500)
        └── ModelChangedError      another model in an encoder's place      (encoders/encoder.py)

`curation/` knows none of these: it raises ValueError, as a library of functions on arrays does.
A sample that cannot be used is not an error but a `Rejection` with a reason code: `formats/rejections.py`.
"""

from __future__ import annotations


class CocuError(Exception):
    """Base of every error the platform raises on purpose."""


class InvalidInputError(CocuError):
    """What the caller gave is wrong.

    `fields` maps the names of wrong inputs to what is wrong with each.
    """

    def __init__(self, message: str, fields: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.fields = fields or {}


class InvalidBundleError(InvalidInputError):
    """An encoder bundle is incomplete or inconsistent."""


class NotFoundError(CocuError):
    """No such thing for this tenant."""


class ConflictError(CocuError):
    """It exists already, or its state does not allow the call."""


class LimitExceededError(CocuError):
    """Larger than a limit allows."""


class UnavailableError(CocuError):
    """A part of the platform does not answer; trying again later may work."""


class NoRoomError(UnavailableError):
    """A disk or a quota is full; it passes when somebody makes room.

    location: for the operator, who may know where files lie; it is no part of the message.
    """

    def __init__(self, message: str, location: str | None = None) -> None:
        super().__init__(message)
        self.location = location


class ExhaustedError(UnavailableError):
    """The process has no descriptors, threads or memory left."""


class MachineError(CocuError):
    """The machine refuses what only its operator can change; location as in `NoRoomError`."""

    def __init__(self, message: str, location: str | None = None) -> None:
        super().__init__(message)
        self.location = location


class RefusedError(MachineError):
    """A part refuses what it was asked, and would again: the set-up, or our code, is wrong."""


class IntegrityError(CocuError):
    """Stored data is not what its hash, shape or count says."""

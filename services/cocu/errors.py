"""Every error of the platform, one tree; the API maps it to problems in one place.

    CocuError
    ├── InvalidInputError          what the caller gave is wrong; says what, with what, and what to do   (422)
    │   ├── InvalidBundleError     an encoder bundle is incomplete or inconsistent
    │   └── FetchRefusedError      an address that must not be fetched      (datasets/fetching.py)
    ├── BadRequestError            HTTP that does not add up: lengths, digests  (api/problems.py)        (400)
    ├── NotFoundError              no such dataset, sample, curation … for this tenant                   (404)
    ├── ConflictError              it exists already, or its state does not allow the call               (409)
    │   ├── BusyError              another writer has the upload            (storage/growing.py)
    │   └── InFlightError          the first request with this key runs     (storage/catalog/idempotency.py)
    ├── LimitExceededError         larger than a limit allows                                            (413)
    ├── UnavailableError           a part (vectors, objects, encoder) does not answer; try again         (503)
    │   └── FetchFailedError       an address that does not answer          (datasets/fetching.py)
    └── IntegrityError             stored data is not what its hash, shape or count says                 (500)
        └── ModelChangedError      another model in an encoder's place      (encoders/encoder.py)

`curation/` knows none of these: it raises ValueError, as a library of functions on arrays does.
A sample that cannot be used is not an error but a `Rejection` with a reason code: `datasets/rejections.py`.
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


class IntegrityError(CocuError):
    """Stored data is not what its hash, shape or count says."""

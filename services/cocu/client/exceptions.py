"""Every error the client raises, one tree.

ClientError
├── ConnectionFailedError      the platform was not reached, also after retrying
├── UnexpectedAnswerError      what answered is not this platform, or another version of it
├── CurationFailedError        waited for a curation that failed or was cancelled
├── NothingToUploadError       the path holds nothing that can be uploaded
└── ProblemError               the platform answered a problem (RFC 9457), see `.problem`
    ├── BadRequestError        400  the request cannot be understood
    ├── NotFoundError          404  no such thing
    ├── ConflictError          409  it exists already, or its state does not allow the call
    ├── TooLargeError          413  larger than a limit allows
    ├── InvalidInputError      422  an input is wrong; `.problem.errors` says which
    ├── UnavailableError       429, 503  try again later
    └── ServerFailedError      any other 5xx
"""

from __future__ import annotations

from cocu.client.models import Curation, Problem


class ClientError(Exception):
    """Base of every error the client raises on purpose."""


class ConnectionFailedError(ClientError):
    """The platform was not reached."""


class UnexpectedAnswerError(ClientError):
    """What answered is not this platform, or another version of it."""


class NothingToUploadError(ClientError):
    """The path holds nothing that can be uploaded."""


class CurationFailedError(ClientError):
    """A curation that was waited for failed or was cancelled."""

    def __init__(self, curation: Curation) -> None:
        super().__init__(f"curation {curation.id} {curation.state}: {curation.detail or 'no reason given'}")
        self.curation = curation


class ProblemError(ClientError):
    """The platform answered a problem."""

    retry_after: float | None = None
    """Seconds after which to try again, where the platform said."""

    def __init__(self, problem: Problem) -> None:
        reasons = [f"{error.field}: {error.problem}" for error in problem.errors]
        super().__init__("; ".join([problem.detail or problem.title, *reasons]))
        self.problem = problem


class BadRequestError(ProblemError):
    """The request cannot be understood."""


class NotFoundError(ProblemError):
    """No such thing."""


class ConflictError(ProblemError):
    """It exists already, or its state does not allow the call."""


class TooLargeError(ProblemError):
    """Larger than a limit allows."""


class InvalidInputError(ProblemError):
    """An input is wrong."""


class UnavailableError(ProblemError):
    """The platform, or a part of it, does not answer now."""


class ServerFailedError(ProblemError):
    """The platform failed; its log says how."""


_BY_STATUS: dict[int, type[ProblemError]] = {
    400: BadRequestError,
    404: NotFoundError,
    409: ConflictError,
    413: TooLargeError,
    422: InvalidInputError,
    429: UnavailableError,
    503: UnavailableError,
}


def problem_error(problem: Problem) -> ProblemError:
    """The error of the tree that stands for this problem."""
    fallback = ServerFailedError if problem.status >= 500 else ProblemError
    return _BY_STATUS.get(problem.status, fallback)(problem)

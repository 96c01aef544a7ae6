"""Every error the client raises, one tree.

ClientError
├── ConnectionFailedError      the platform could not be reached, even with retries
├── UnexpectedAnswerError      the server is not a cocu platform, or has another version
├── CurationFailedError        a curation failed or was cancelled while the client waited for it
├── ProjectionFailedError      a projection failed while the client waited for it
├── NothingToUploadError       the path contains nothing that can be uploaded
└── ProblemError               the platform answered with a problem (RFC 9457), see `.problem`
    ├── BadRequestError        400  the request cannot be understood
    ├── NotFoundError          404  the resource does not exist
    ├── ConflictError          409  the resource exists already, or its state does not allow the call
    ├── TooLargeError          413  the request is larger than a limit
    ├── InvalidInputError      422  an input is wrong; `.problem.errors` says which
    ├── UnavailableError       429, 503  try again later
    └── ServerFailedError      any other 5xx
"""

from __future__ import annotations

from cocu.schemas import Curation, Problem, Projection


class ClientError(Exception):
    """Base of every error that the client raises on purpose."""


class ConnectionFailedError(ClientError):
    """The platform could not be reached."""


class UnexpectedAnswerError(ClientError):
    """The server is not a cocu platform, or has another version."""


class NothingToUploadError(ClientError):
    """The path contains nothing that can be uploaded."""


class CurationFailedError(ClientError):
    """A curation failed or was cancelled while the client waited for it."""

    def __init__(self, curation: Curation) -> None:
        reason = f": {curation.detail}" if curation.detail else ""
        outcome = "was cancelled" if curation.state == "cancelled" else curation.state
        super().__init__(f"curation {curation.id} {outcome}{reason}")
        self.curation = curation


class ProjectionFailedError(ClientError):
    """A projection failed while the client waited for it."""

    def __init__(self, projection: Projection) -> None:
        reason = f": {projection.error}" if projection.error else ""
        super().__init__(f"projection {projection.id} failed{reason}")
        self.projection = projection


class ProblemError(ClientError):
    """The platform answered with a problem."""

    retry_after: float | None = None
    """Seconds to wait before a retry, where the platform named them."""

    def __init__(self, problem: Problem) -> None:
        reasons = [f"{error.field}: {error.problem}" for error in problem.errors]
        super().__init__("; ".join([problem.detail or problem.title, *reasons]))
        self.problem = problem


class BadRequestError(ProblemError):
    """The request cannot be understood."""


class NotFoundError(ProblemError):
    """The resource does not exist."""


class ConflictError(ProblemError):
    """The resource exists already, or its state does not allow the call."""


class TooLargeError(ProblemError):
    """The request is larger than a limit."""


class InvalidInputError(ProblemError):
    """An input is wrong."""


class UnavailableError(ProblemError):
    """The platform, or a part of it, cannot answer now."""


class ServerFailedError(ProblemError):
    """The platform failed; its log says why."""


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
    """The error for a problem, by its status."""
    fallback = ServerFailedError if problem.status >= 500 else ProblemError
    return _BY_STATUS.get(problem.status, fallback)(problem)

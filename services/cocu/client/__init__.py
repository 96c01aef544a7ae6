"""The typed HTTP client and the wire models it shares with the API."""

from cocu.client.batches import Batch, BatchRequest
from cocu.client.client import CocuClient
from cocu.client.curations import read_labels
from cocu.client.exceptions import (
    BadRequestError,
    ClientError,
    ConflictError,
    ConnectionFailedError,
    CurationFailedError,
    InvalidInputError,
    NotFoundError,
    NothingToUploadError,
    ProblemError,
    ProjectionFailedError,
    ServerFailedError,
    TooLargeError,
    UnavailableError,
    UnexpectedAnswerError,
)
from cocu.client.training import TrainingClient

__all__ = [
    "BadRequestError",
    "Batch",
    "BatchRequest",
    "ClientError",
    "CocuClient",
    "ConflictError",
    "ConnectionFailedError",
    "CurationFailedError",
    "InvalidInputError",
    "NotFoundError",
    "NothingToUploadError",
    "ProblemError",
    "ProjectionFailedError",
    "ServerFailedError",
    "TooLargeError",
    "TrainingClient",
    "UnavailableError",
    "UnexpectedAnswerError",
    "read_labels",
]

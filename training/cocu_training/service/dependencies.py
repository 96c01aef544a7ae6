"""The dependencies of routes: the service, the tenant, a run's id, an Idempotency-Key."""

from __future__ import annotations

import hashlib
import re
import threading
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Path, Query, Request, Security
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from cocu.client import ClientError, CocuClient, NotFoundError, ProblemError
from cocu_training.service import runs as stored
from cocu_training.service.errors import (
    InvalidError,
    MissingError,
    StateError,
    UnauthorizedError,
    UnavailableError,
)
from cocu_training.service.keys import Keys
from cocu_training.service.run_dir import RunFolder
from cocu_training.service.runner import Runner
from cocu_training.service.runs import Runs
from cocu_training.service.settings import ServiceSettings

PLATFORM_SECONDS = 5.0
PATTERN = r'^(?:"([\x20-\x21\x23-\x5b\x5d-\x7e]{1,200})"|([!#-+\--:<-\[\]-~]{1,200}))$'
_KEY = re.compile(PATTERN)
_RUN = re.compile(r"run_[0-9a-f]{20}")


@dataclass(frozen=True)
class Service:
    """The parts of the service that routes use."""

    settings: ServiceSettings
    runs: Runs
    runner: Runner
    keys: Keys
    stopping: threading.Event

    def folder(self, run: str) -> RunFolder:
        """The folder of a run."""
        return RunFolder(self.settings.run_folder(run))

    def platform(self, tenant: str) -> CocuClient:
        """A client of the platform for this tenant."""
        return CocuClient(
            self.settings.platform,
            self.settings.platform_keys.get(tenant),
            timeout=PLATFORM_SECONDS,
            retries=0,
        )

    def check_curation(self, curation: str, *, tenant: str) -> None:
        """Check that runs can train on a curation. Raises InvalidError, StateError, UnavailableError."""
        try:
            with self.platform(tenant) as client:
                state = client.curations.get(curation)
        except NotFoundError as error:
            raise InvalidError(
                "There is no such curation.", {"body.curation": "give the id of one on the platform"}
            ) from error
        except ProblemError as error:
            raise UnavailableError(
                f"the platform cannot answer about the curation: {error.problem.title}"
            ) from error
        except ClientError as error:
            raise UnavailableError("the platform of this service does not answer; try again later") from error
        if not state.completed:
            raise StateError(f"the curation is {state.state}; only a completed one can be trained on")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceOf = Annotated[Service, Depends(_service)]

_bearer = HTTPBearer(auto_error=False, description="An API key of this service, where it asks for one.")


def _tenant(request: Request, service: ServiceOf, credentials: Annotated[object, Security(_bearer)]) -> str:
    try:
        return service.keys.tenant(request.headers.get("authorization"))
    except UnicodeError as error:
        raise UnauthorizedError("The API key is not text.") from error


Tenant = Annotated[str, Depends(_tenant)]


def _possible_id(run: Annotated[str, Path(description="Id of a run.")], _: Tenant) -> str:
    # Depends on the tenant, so that a caller without a valid key gets 401 and not 404.
    if _RUN.fullmatch(run) is None:
        raise MissingError("there is no such run; ids begin with run_")
    return run


RunId = Annotated[str, Depends(_possible_id)]


async def _once(
    request: Request,
    service: ServiceOf,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="The same key with the same request returns the run of the first request.",
            json_schema_extra={"pattern": PATTERN},
        ),
    ] = None,
) -> stored.Request | None:
    if idempotency_key is None:
        return None
    match = _KEY.fullmatch(idempotency_key.strip())
    if match is None:
        raise InvalidError(
            "The Idempotency-Key is invalid.",
            {"Idempotency-Key": "give 1 to 200 printable characters"},
        )
    digest = hashlib.sha256(await request.body()).hexdigest()
    return stored.Request(match[1] or match[2], digest, service.settings.idempotency_seconds)


Once = Annotated[stored.Request | None, Depends(_once)]


def _event_number(
    last_event_id: Annotated[
        str | None,
        Header(description="Go on after this event.", json_schema_extra={"pattern": "^[0-9]{1,18}$"}),
    ] = None,
) -> int:
    if last_event_id is None:
        return 0
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) <= 18):
        raise HTTPException(
            422, "Last-Event-ID must be the id of an event of this stream; leave it out to get all events"
        )
    return int(last_event_id)


LastEvent = Annotated[int, Depends(_event_number)]
Limit = Annotated[int, Query(ge=1, le=1000, description="The most items of one page.")]
Cursor = Annotated[
    str | None,
    Query(
        max_length=200,
        description="`next` of the page before; none for the first page.",
        json_schema_extra={"pattern": "^[A-Za-z0-9_-]+$"},
    ),
]

"""What a platform is made of and what it allows: read from the environment, `COCU_` before every name.

Four URLs choose the parts (catalog, broker, vectors, objects), a fifth names the encoders; each of them that
is not given lies under `data_folder`: one folder is a whole platform, and deleting it deletes everything.

    Settings()                                   # everything under ./.cocu, in this process
    Settings(data_folder="/srv/cocu")            # the same, elsewhere
    Settings(catalog_url="postgresql+psycopg://cocu@db/cocu", broker_url="redis://queue:6379/0")
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self, get_origin

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cocu.errors import InvalidInputError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MEBIBYTE = 1024 * 1024

CATALOG_SCHEMES = ("sqlite", "postgresql")
BROKER_SCHEMES = ("memory", "redis", "rediss")
OBJECTS_SCHEMES = ("file", "memory", "s3")
ENCODER_PROVIDERS = {"": "registry", "grpc": "triton.server", "grpcs": "triton.server"}
"""By the scheme of `encoders_url` (none: a folder), the module of `cocu.encoders` that opens the encoders."""

SECRET = ("training_api_key", "vectors_api_key")
"""Settings whose values are never shown."""

RENAMED: Mapping[str, str] = {"chunk_seconds": "task_seconds"}
"""Settings that had another name once: the old name, and what it is called now."""

Count = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


def _scheme(url: str) -> str:
    """The scheme of a URL without a driver: `postgresql` of `postgresql+psycopg://…`; empty for a path."""
    scheme, separator, _ = url.partition("://")
    return scheme.partition("+")[0].lower() if separator else ""


def _require_scheme(name: str, url: str, schemes: tuple[str, ...]) -> None:
    if _scheme(url) not in schemes:
        allowed = ", ".join(f"{scheme}://" for scheme in schemes)
        raise ValueError(f"{name} is {url!r}; it must begin with one of {allowed}")


def _listed(text: str) -> list[object]:
    """The items of a list as an environment variable holds it: with commas, or as JSON."""
    if not text.strip().startswith("["):
        return [item.strip() for item in text.split(",") if item.strip()]
    try:
        items: list[object] = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no list in JSON; with commas will do: a,b") from error
    return items


def _text_of(error: ErrorDetails) -> str:
    """One wrong setting in a sentence that names its variable."""
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        # A rule over several settings, whose sentence begins with the name of the one at fault.
        name, _, rest = message.partition(" ")
        return f"COCU_{name.upper()} {rest}"
    name = str(error["loc"][0])
    if message.startswith(f"{name} is "):
        return f"COCU_{name.upper()}{message.removeprefix(name)}"
    shown = "" if name in SECRET else f" is {error['input']!r}"
    return f"COCU_{name.upper()}{shown}: {message.replace('Input should', 'it should', 1)}"


class Settings(BaseSettings):
    """Settings of one platform; each field is the environment variable `COCU_<NAME>`.

    A setting that is a list is written with commas (`COCU_FETCH_PORTS=80,443`), or as JSON (`[80, 443]`).
    The text below a field and the comment above its group make up docs/settings.md (`cocu.settings_page`).
    """

    model_config = SettingsConfigDict(
        env_prefix="COCU_", extra="ignore", frozen=True, validate_default=True, enable_decoding=False
    )

    # Places.
    data_folder: Path = Path(".cocu")
    """The folder in which the other places lie that are not given; it is a whole platform."""
    catalog_url: str = ""
    """`sqlite:///…` or `postgresql+psycopg://…`; a file in the data folder."""
    broker_url: str = "memory://"
    """`memory://` runs the workers in the API's process; `redis://…` leaves them to `cocu worker`."""
    vectors_url: str = ""
    """A folder, or `http(s)://…` of a Qdrant server; a folder in the data folder."""
    objects_url: str = ""
    """`file://…` or `s3://…`, or `memory://` for tests; a folder in the data folder."""
    encoders_url: str = ""
    """A folder of encoder bundles, or one bundle; or `grpc(s)://…` of a Triton server."""

    # Storage.
    catalog_connections: Annotated[int, Field(ge=2, le=1000)] = 20
    """Connections to PostgreSQL that one process opens at most."""
    objects_cache_bytes: Count = 32 * 1024 * MEBIBYTE
    """What local copies of objects in a bucket may take up on one machine."""

    # Uploads and imports.
    samples_per_shard: Annotated[int, Field(ge=1, le=10_000)] = 10_000
    """Samples in a shard at most; the last shard of an upload has fewer."""
    max_upload_bytes: Count = 16 * 1024 * MEBIBYTE
    """How large one file of an upload or import may be."""
    max_tenant_bytes: Count | None = None
    """What the uploads of one tenant may take up together; None: as much as there is room for."""
    upload_expiry_seconds: Seconds = 24 * 3600.0
    """How long a resumable upload is waited for after its last byte."""
    max_image_bytes: Count = 64 * MEBIBYTE
    """How large an image may be; a larger one is rejected, and the rest of its upload is read."""
    max_image_pixels: Count = 50_000_000
    """How many pixels an image may have; a larger one is rejected likewise."""
    max_caption_characters: Count = 100_000
    """How long a caption may be; a longer one is rejected likewise."""
    fetch_seconds: Seconds = 4 * 3600.0
    """How long the download of one imported file may take."""
    fetch_ports: frozenset[Port] = frozenset({80, 443})
    """Ports that imports may connect to."""
    fetch_networks: tuple[str, ...] = ()
    """Private networks (as 10.1.0.0/16) that imports may reach all the same; none without need."""
    import_buckets: tuple[str, ...] = ()
    """Prefixes of s3:// that tenants may import from; the platform reads them with its own credentials."""

    # The API.
    root_path: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)*$")] = ""
    """The path under which a proxy passes requests on as they are (`/cocu`); none where it takes it off."""
    hosts: tuple[str, ...] = ()
    """Names that the API answers to beside localhost and addresses, separated by commas; `*.` before a name
    stands for everything below it, and `*` alone for any name."""
    dashboard: bool = True
    """Whether the API serves the web pages too, at every path that is not its own."""
    training: Annotated[str, Field(pattern=r"^https?://[^/?#\s]+[^?#\s]*$")] | None = None
    """URL of the training service whose runs the web pages show; without it they say how to start one."""
    training_api_key: SecretStr | None = None
    """A key of the training service, where it asks for one; every viewer sees the runs of its tenant."""
    request_head_seconds: Seconds = 30.0
    """How long the head of a request may take to arrive."""
    upload_idle_seconds: Seconds = 30.0
    """How long a connection may send nothing in the middle of a body."""
    max_connections: Count = 4096
    """Connections that the API keeps open at once; the one idle longest makes room for a new one."""
    max_batch_streams: Count = 128
    """Batch streams that the API sends at once; an eighth of its connections at most."""
    max_exports: Count = 32
    """Exports that the API sends at once; an eighth of its connections at most."""
    max_followers: Count = 1024
    """Readers of events that the API has at once; an eighth of its connections at most."""
    idempotency_seconds: Seconds = 24 * 3600.0
    """How long the answer to a request with an Idempotency-Key is kept."""
    max_search_pixels: Count = 16_000_000
    """Pixels of an image to search by."""
    max_decoding_pixels: Count = 50_000_000
    """Pixels of images that the API decodes at once, for searches, thumbnails and smaller batches."""
    max_vocabulary_concepts: Count = 100_000
    """Concepts that a vocabulary may have."""
    max_vocabulary_bytes: Count = 64 * MEBIBYTE
    """How large the request that creates a vocabulary may be."""
    max_labels_bytes: Count = 256 * MEBIBYTE
    """How large a file of labels may be."""
    max_page: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    """Items that one page of a list may have."""

    # Encoders.
    encoder_seconds: Seconds = 5.0
    """How long an inference server is waited for; a batch is waited for longer by the next setting."""
    encoder_seconds_per_input: Annotated[float, Field(ge=0)] = 4.0
    """How much longer for each image or text of a request."""
    encoder_requests: Annotated[int, Field(ge=1, le=64)] = 4
    """Batches that one process sends to an inference server at once."""

    # Vectors.
    vectors_api_key: SecretStr | None = None
    """The API key that the Qdrant server asks for."""
    vectors_grpc: bool = True
    """Whether vectors go to a Qdrant server over gRPC, at the next setting's port, or as JSON over HTTP."""
    vectors_grpc_port: Annotated[int, Field(ge=1, le=65535)] = 6334
    """The port of a Qdrant server for gRPC."""
    vectors_seconds: Annotated[float, Field(ge=1, le=600)] = 5.0
    """How long a search may wait for an answer of a Qdrant server; no call takes twice as long."""
    vectors_bulk_seconds: Annotated[float, Field(ge=1, le=3600)] = 30.0
    """The same for a request that writes many vectors."""
    vectors_upserts: Annotated[int, Field(ge=1, le=64)] = 4
    """Batches that one task sends to a Qdrant server at once."""
    vectors_quantised: bool = True
    """Whether searches on a Qdrant server begin with one byte a number, held in memory."""
    vectors_on_disk: bool = True
    """Whether the vectors themselves are mapped from a Qdrant server's disk instead of held in memory."""
    vectors_replicas: Annotated[int, Field(ge=1, le=16)] = 1
    """Copies of each vector in a Qdrant cluster. A write is done when one copy has it."""
    vectors_shards: Annotated[int, Field(ge=1, le=256)] | None = None
    """Parts of a new collection, spread over the nodes of a Qdrant cluster; None: one for each node."""

    # Work.
    worker_threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Tasks that run at once where the workers are in the API's process (`memory://`)."""
    worker_processes: Annotated[int, Field(ge=1, le=256)] | None = None
    """Processes of `cocu worker`, each with one task at a time; None: one for every two cores."""
    worker_cores: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Cores that one task keeps busy; None: the machine's, shared out among the processes."""
    worker_memory_bytes: Count = 4096 * MEBIBYTE
    """A process of `cocu worker` that has held more than this is replaced once its task has ended.

    It is no limit to what a task takes: the container sets that, and a process it kills counts as lost.
    """
    worker_grace_seconds: Seconds = 20.0
    """How long tasks may take to stop by themselves when a worker is to; then they are taken from it."""
    task_seconds: Seconds = 3600.0
    """How long a task may run before it counts as failed; `fetch` may take `fetch_seconds`."""
    broker_seconds: Annotated[float, Field(ge=0.1, le=60)] = 2.0
    """How long a broker that does not answer is waited for; what could not be sent, the sweeper sends."""
    stuck_seconds: Annotated[float, Field(ge=1)] = 60.0
    """How long a worker or sweeper may make no progress before its check says that it is stuck."""
    heartbeat_file: Path | None = None
    """Where a worker or sweeper writes that it is alive; None: in the data folder, by the machine's name."""
    lease_seconds: Annotated[float, Field(ge=0.5)] = 60.0
    """How long a task stays with a worker that has gone silent; a live one renews its lease in time."""
    sweep_seconds: Seconds = 5.0
    """How often the sweeper looks for tasks to put into the queue again."""
    resend_seconds: Seconds = 10.0
    """How long a message may be on its way to a queue that is empty before it is held for lost."""
    max_failures: Count = 3
    """Errors after which a task is given up."""
    max_outages: Count = 12
    """The same where a part of the platform (encoder, objects, catalog) did not answer.

    With the waits between the attempts that is about 25 minutes.
    """
    max_lost_leases: Count = 20
    """Workers that may vanish in the middle of a task before the task is blamed and given up."""
    retry_seconds: Annotated[float, Field(ge=0)] = 1.0
    """Wait before a failed task is tried again; doubles with every failure."""

    @classmethod
    def read(cls, **values: object) -> Self:
        """The settings of the environment, with these values in their place.

        Raises InvalidInputError, whose line names each variable that is wrong, and what it may be.
        """
        try:
            return cls(**values)  # type: ignore[arg-type]
        except ValidationError as error:
            wrong = {
                str(problem["loc"][0]) if problem["loc"] else "": _text_of(problem)
                for problem in error.errors()
            }
            raise InvalidInputError("; ".join(wrong.values()), fields=wrong) from error

    @model_validator(mode="before")
    @classmethod
    def _no_renamed(cls, values: dict[str, object]) -> dict[str, object]:
        # An unknown variable is ignored, so that an old name would silently mean the default.
        variables = {name.upper() for name in os.environ}
        for old, new in RENAMED.items():
            if old in values or f"COCU_{old.upper()}" in variables:
                raise ValueError(f"{old} is now called COCU_{new.upper()}; set that instead")
        return values

    @field_validator("*", mode="before")
    @classmethod
    def _lists(cls, value: object, info: ValidationInfo) -> object:
        kind = get_origin(cls.model_fields[info.field_name or ""].annotation)
        return _listed(value) if isinstance(value, str) and kind in (tuple, frozenset) else value

    @field_validator("fetch_networks")
    @classmethod
    def _networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ipaddress.ip_network(network)
        return networks

    @field_validator("import_buckets")
    @classmethod
    def _buckets(cls, prefixes: tuple[str, ...]) -> tuple[str, ...]:
        for prefix in prefixes:
            _require_scheme("import_buckets", prefix, ("s3",))
        return prefixes

    @field_validator("catalog_url", "broker_url", "vectors_url", "objects_url", "encoders_url", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        return str(value) if isinstance(value, Path) else value

    @model_validator(mode="before")
    @classmethod
    def _places_under_the_data_folder(cls, values: dict[str, object]) -> dict[str, object]:
        # Made absolute once, here: a URL must not change its meaning with the working directory.
        folder = Path(str(values.get("data_folder") or ".cocu")).expanduser().absolute()
        places = {
            "catalog_url": f"sqlite:///{folder / 'catalog.sqlite'}",
            "vectors_url": str(folder / "vectors"),
            "objects_url": (folder / "objects").as_uri(),
            "encoders_url": str(folder / "encoders"),
        }
        stated = {name: value for name, value in values.items() if value not in ("", None)}
        return {**places, **stated, "data_folder": folder}

    @model_validator(mode="after")
    def _known_schemes(self) -> Self:
        _require_scheme("catalog_url", self.catalog_url, CATALOG_SCHEMES)
        _require_scheme("broker_url", self.broker_url, BROKER_SCHEMES)
        _require_scheme("objects_url", self.objects_url, OBJECTS_SCHEMES)
        if _scheme(self.vectors_url) not in ("", "http", "https"):
            raise ValueError(
                f"vectors_url is {self.vectors_url!r}; it must be a folder or begin with http(s)://"
            )
        if _scheme(self.encoders_url) not in ENCODER_PROVIDERS:
            schemes = ", ".join(f"{scheme}://" for scheme in ENCODER_PROVIDERS if scheme)
            raise ValueError(
                f"encoders_url is {self.encoders_url!r}; it must be a folder of encoder bundles "
                f"or begin with {schemes}"
            )
        return self

    @property
    def embedded(self) -> bool:
        """Whether the workers run inside this process."""
        return _scheme(self.broker_url) == "memory"

    @property
    def encoder_provider(self) -> str:
        """The module of `cocu.encoders` that opens the encoders."""
        return ENCODER_PROVIDERS[_scheme(self.encoders_url)]

    @property
    def cores(self) -> int:
        """The cores that one task may keep busy."""
        return self.worker_cores or usable_cores()

    def heartbeat(self, kind: str) -> Path:
        """Where a `worker` or `sweeper` on this machine writes that it is alive."""
        return self.heartbeat_file or self.data_folder / f"{kind}-{socket.gethostname()}.heartbeat"


def usable_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

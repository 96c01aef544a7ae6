"""What a platform is made of and what it allows: read from the environment, `COCU_` before every name.

Four URLs choose the parts (catalog, broker, vectors, objects), a fifth names the encoders; each of them that
is not given lies under `data_folder`: one folder is a whole platform, and deleting it deletes everything.

    Settings()                                   # everything under ./.cocu, in this process
    Settings(data_folder="/srv/cocu")            # the same, elsewhere
    Settings(catalog_url="postgresql+psycopg://cocu@db/cocu", broker_url="redis://queue:6379/0")
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MEBIBYTE = 1024 * 1024

CATALOG_SCHEMES = ("sqlite", "postgresql")
BROKER_SCHEMES = ("memory", "redis", "rediss")
OBJECTS_SCHEMES = ("file", "memory", "s3")

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


def _scheme(url: str) -> str:
    """The scheme of a URL without a driver: `postgresql` of `postgresql+psycopg://…`; empty for a path."""
    scheme, separator, _ = url.partition("://")
    return scheme.partition("+")[0].lower() if separator else ""


def _require_scheme(name: str, url: str, schemes: tuple[str, ...]) -> None:
    if _scheme(url) not in schemes:
        allowed = ", ".join(f"{scheme}://" for scheme in schemes)
        raise ValueError(f"{name} is {url!r}; it must begin with one of {allowed}")


class Settings(BaseSettings):
    """Settings of one platform; each field is the environment variable `COCU_<NAME>`.

    data_folder: what the other places default to a part of.
    catalog_url: `sqlite:///…` or `postgresql+psycopg://…`.
    broker_url: `memory://` runs the workers in the API process; `redis://…` leaves them to Celery workers.
    vectors_url: a folder (local mode) or `http(s)://…` of a Qdrant server.
    objects_url: `file://…`, `s3://…`, or `memory://` for tests.
    encoders_url: a folder of encoder bundles, or one bundle; or `grpc(s)://…` of a Triton server.
    """

    model_config = SettingsConfigDict(env_prefix="COCU_", extra="ignore", frozen=True, validate_default=True)

    data_folder: Path = Path(".cocu")
    catalog_url: str = ""
    broker_url: str = "memory://"
    vectors_url: str = ""
    objects_url: str = ""
    encoders_url: str = ""

    samples_per_shard: Annotated[int, Field(ge=1, le=10_000)] = 10_000
    max_upload_bytes: Count = 16 * 1024 * MEBIBYTE
    catalog_connections: Annotated[int, Field(ge=2, le=1000)] = 20
    """Connections to PostgreSQL that one process opens at most."""
    objects_cache_bytes: Count = 32 * 1024 * MEBIBYTE
    """What local copies of objects in a bucket may take up on one machine."""
    max_tenant_bytes: Count | None = None
    """What the uploads of one tenant may take up together; None: as much as there is room for."""
    upload_expiry_seconds: Seconds = 24 * 3600.0
    """How long a resumable upload is waited for after its last byte."""
    upload_idle_seconds: Seconds = 30.0
    """How long a connection may send nothing in the middle of a body."""
    request_head_seconds: Seconds = 30.0
    """How long the head of a request may take to arrive."""
    idempotency_seconds: Seconds = 24 * 3600.0
    """How long the answer to a request with an Idempotency-Key is kept."""
    fetch_seconds: Seconds = 4 * 3600.0
    """How long the download of one imported file may take."""
    fetch_ports: frozenset[int] = frozenset({80, 443})
    """Ports that imports may connect to."""
    fetch_networks: tuple[str, ...] = ()
    """Private networks (as 10.1.0.0/16) that imports may reach all the same; none without need."""
    import_buckets: tuple[str, ...] = ()
    """Prefixes of s3:// that tenants may import from; the platform reads them with its own credentials."""
    max_image_bytes: Count = 64 * MEBIBYTE
    max_image_pixels: Count = 50_000_000
    max_caption_characters: Count = 100_000
    max_vocabulary_concepts: Count = 100_000
    max_vocabulary_bytes: Count = 64 * MEBIBYTE
    max_labels_bytes: Count = 256 * MEBIBYTE
    max_page: Annotated[int, Field(ge=1, le=10_000)] = 1_000

    encoder_seconds: Seconds = 5.0
    """How long an inference server is waited for; a batch is waited for longer by the next setting."""
    encoder_seconds_per_input: Annotated[float, Field(ge=0)] = 4.0
    """How much longer for each picture or text of a request."""
    encoder_requests: Annotated[int, Field(ge=1, le=64)] = 4
    """Batches that one process sends to an inference server at once."""

    vectors_api_key: SecretStr | None = None
    """What a Qdrant server wants to see of whoever speaks to it."""
    vectors_grpc: bool = True
    """Whether vectors go to a Qdrant server over gRPC, at the next setting's port, or as JSON over HTTP."""
    vectors_grpc_port: Annotated[int, Field(ge=1, le=65535)] = 6334
    vectors_seconds: Annotated[float, Field(ge=1, le=600)] = 5.0
    """How long a search may wait for an answer of a Qdrant server; no call takes twice as long."""
    vectors_bulk_seconds: Annotated[float, Field(ge=1, le=3600)] = 30.0
    """The same for a request that writes many vectors."""
    vectors_upserts: Annotated[int, Field(ge=1, le=64)] = 4
    """Batches that one chunk sends to a Qdrant server at once."""
    vectors_quantised: bool = True
    """Whether searches on a Qdrant server begin with one byte a number, held in memory."""
    vectors_on_disk: bool = True
    """Whether the vectors themselves are mapped from a Qdrant server's disk instead of held in memory."""
    vectors_replicas: Annotated[int, Field(ge=1, le=16)] = 1
    """Copies of each vector in a Qdrant cluster."""

    worker_threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Chunks that run at once where the workers are in the API's process (`memory://`)."""
    worker_processes: Annotated[int, Field(ge=1, le=256)] | None = None
    """Processes of `cocu worker`, each with one chunk at a time; None: one for every two cores."""
    worker_cores: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Cores that one chunk keeps busy; None: the machine's, shared out among the processes."""
    worker_memory_bytes: Count = 4096 * MEBIBYTE
    """A process of `cocu worker` that has held more than this is replaced once its chunk has ended.

    It is no limit to what a chunk takes: the container sets that, and a process it kills counts as lost.
    """
    worker_grace_seconds: Seconds = 20.0
    """How long chunks may take to stop by themselves when a worker is to; then they are taken from it."""
    chunk_seconds: Seconds = 3600.0
    """How long a chunk may run before it counts as failed; `fetch` may take `fetch_seconds`."""
    broker_seconds: Annotated[float, Field(ge=0.1, le=60)] = 2.0
    """How long a broker that does not answer is waited for; what could not be sent, the sweeper sends."""
    stuck_seconds: Annotated[float, Field(ge=1)] = 60.0
    """For how long a worker or sweeper may get nowhere before its check says that it is stuck."""
    heartbeat_file: Path | None = None
    """Where a worker or sweeper notes that it gets on; None: in the data folder, by the machine's name."""
    lease_seconds: Annotated[float, Field(ge=0.5)] = 60.0
    """How long a chunk stays with a worker that has gone silent; a live one renews its lease in time."""
    sweep_seconds: Seconds = 5.0
    """How often it is looked for chunks that are to be put into the queue again."""
    resend_seconds: Seconds = 10.0
    """How long a message may be on its way to a queue that is empty before it is held for lost."""
    max_failures: Count = 3
    """Errors after which a chunk is given up."""
    max_outages: Count = 12
    """The same where a part of the platform (encoder, objects, catalog) did not answer.

    With the waits between the attempts that is about 25 minutes.
    """
    max_lost_leases: Count = 20
    """Workers that may vanish in the middle of a chunk before the chunk is blamed and given up."""
    retry_seconds: Annotated[float, Field(ge=0)] = 1.0
    """Wait before a failed chunk is tried again; doubles with every failure."""

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
        given = {name: value for name, value in values.items() if value not in ("", None)}
        return {**places, **given, "data_folder": folder}

    @model_validator(mode="after")
    def _known_schemes(self) -> Self:
        _require_scheme("catalog_url", self.catalog_url, CATALOG_SCHEMES)
        _require_scheme("broker_url", self.broker_url, BROKER_SCHEMES)
        _require_scheme("objects_url", self.objects_url, OBJECTS_SCHEMES)
        if _scheme(self.vectors_url) not in ("", "http", "https"):
            raise ValueError(
                f"vectors_url is {self.vectors_url!r}; it must be a folder or begin with http(s)://"
            )
        if _scheme(self.encoders_url) not in ("", "grpc", "grpcs"):
            raise ValueError(
                f"encoders_url is {self.encoders_url!r}; it must be a folder of encoder bundles "
                "or begin with grpc(s)://"
            )
        return self

    @property
    def embedded(self) -> bool:
        """Whether the workers run inside this process."""
        return _scheme(self.broker_url) == "memory"

    @property
    def cores(self) -> int:
        """The cores that one chunk may keep busy."""
        return self.worker_cores or usable_cores()

    def heartbeat(self, kind: str) -> Path:
        """Where a `worker` or `sweeper` on this machine notes that it gets on."""
        return self.heartbeat_file or self.data_folder / f"{kind}-{socket.gethostname()}.heartbeat"


def usable_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

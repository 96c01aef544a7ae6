"""The Celery application: a task and a queue per stage. It carries messages; the catalog has the state."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable

from celery import Celery
from kombu.entity import Queue

from cocu.platform import Planned, Platform
from cocu.settings import Settings
from cocu.storage.catalog.states import Stage
from cocu.workers.stages import run_chunk

VISIBILITY_SECONDS = 12 * 3600
"""After how long Redis delivers an unacknowledged message again; the sweeper is faster."""


def create_application(
    settings: Settings, platform: Callable[[], Platform], *, stopping: threading.Event
) -> Celery:
    """The application for a broker; its tasks run on the platform that `platform` gives.

    stopping: set to make running chunks hand themselves back.
    """
    # The queues of memory:// belong to the whole process: two platforms in it must not share them.
    prefix = f"cocu-{secrets.token_hex(4)}" if settings.embedded else "cocu"
    # Without a host Celery warns that it assumes one.
    broker = "memory://localhost" if settings.embedded else settings.broker_url
    application = Celery(prefix, broker=broker, set_as_current=False)
    application.conf.update(
        task_queues=[Queue(_queue(prefix, stage)) for stage in Stage],  # type: ignore[no-untyped-call]
        task_default_queue=_queue(prefix, Stage.INGEST),
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"visibility_timeout": VISIBILITY_SECONDS, "polling_interval": 0.05},
    )
    for stage in Stage:
        _add_task(application, stage, platform, stopping)
    return application


def sender(application: Celery) -> Callable[[Iterable[Planned]], None]:
    """What puts chunks into the application's queues."""

    def send(planned: Iterable[Planned]) -> None:
        for chunk_id, stage in planned:
            application.send_task(
                f"cocu.{stage}", args=[chunk_id], queue=_queue(str(application.main), stage)
            )

    return send


def _queue(prefix: str, stage: str) -> str:
    return f"{prefix}.{stage}"


def _add_task(
    application: Celery, stage: Stage, platform: Callable[[], Platform], stopping: threading.Event
) -> None:
    # Shared tasks, which is the default, would be added to every other application of the process too.
    @application.task(name=f"cocu.{stage}", ignore_result=True, shared=False)  # type: ignore[untyped-decorator]
    def run(chunk_id: str) -> None:
        run_chunk(platform(), chunk_id, stopping=stopping)

"""The Celery application: a task and a queue per stage. It carries messages; the catalog has the state."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Any

from celery import Celery
from kombu.entity import Queue

from cocu.platform import Platform
from cocu.settings import Settings
from cocu.storage.catalog.states import Stage
from cocu.workers.stages import run_chunk

HARD_LIMIT_SECONDS = 60.0
"""How long after its time is over a chunk that does not notice is ended, with its process."""


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
        task_queues=[
            Queue(queue_name(application, stage))  # type: ignore[no-untyped-call]
            for stage in Stage
        ],
        task_default_queue=queue_name(application, Stage.INGEST),
        task_create_missing_queues=False,
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=True,
        # Its lease keeps others from a chunk until it ends; the message that comes back does no harm.
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_max_memory_per_child=settings.worker_memory_bytes // 1024,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,
        # A request of the API runs in one of forty threads; none waits for another to have sent.
        broker_pool_limit=40,
        broker_connection_timeout=settings.broker_seconds,
        broker_transport_options=_transport(settings),
        visibility_timeout=visibility_seconds(settings),
    )
    for stage in Stage:
        _add_task(application, stage, platform, stopping=stopping, limits=_limits(settings, stage))
    return application


def queue_name(application: Celery, stage: str) -> str:
    """The queue of a stage."""
    return f"{application.main}.{stage}"


def longest_seconds(settings: Settings, stage: str) -> float:
    """How long a chunk of a stage may run."""
    return settings.fetch_seconds + 60.0 if stage == Stage.FETCH else settings.chunk_seconds


def visibility_seconds(settings: Settings) -> float:
    """After how long Redis delivers an unacknowledged message again: above the longest chunk.

    It is not what saves the work of a worker that died: its lease ends long before.
    """
    return 2 * max(longest_seconds(settings, stage) for stage in Stage) + HARD_LIMIT_SECONDS


def _transport(settings: Settings) -> dict[str, Any]:
    if settings.embedded:
        return {"polling_interval": 0.05}
    return {
        "visibility_timeout": visibility_seconds(settings),
        "socket_connect_timeout": settings.broker_seconds,
        # Kombu waits for messages without it; it bounds every single command.
        "socket_timeout": settings.broker_seconds,
        "socket_keepalive": True,
        "health_check_interval": 10,
        # One list for each queue instead of one for each of four priorities.
        "priority_steps": [0],
        # Who sends tries once; who consumes goes on for ever, which is said by other settings.
        "max_retries": 0,
        "interval_start": 0.0,
        "connect_retries_timeout": settings.broker_seconds,
    }


def _limits(settings: Settings, stage: str) -> dict[str, float]:
    if settings.embedded:  # Threads cannot be interrupted.
        return {}
    longest = longest_seconds(settings, stage)
    return {"soft_time_limit": longest, "time_limit": longest + HARD_LIMIT_SECONDS}


def _add_task(
    application: Celery,
    stage: Stage,
    platform: Callable[[], Platform],
    *,
    stopping: threading.Event,
    limits: dict[str, float],
) -> None:
    # Shared tasks, which is the default, would be added to every other application of the process too.
    @application.task(name=f"cocu.{stage}", ignore_result=True, shared=False, **limits)  # type: ignore[untyped-decorator]
    def run(chunk_id: str) -> None:
        run_chunk(platform(), chunk_id, stopping=stopping)

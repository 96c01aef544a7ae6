"""The Celery application: a queue for each stage, and the function that runs the task of a message.

Celery only carries messages. The catalog holds the tasks and their states.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded
from kombu.entity import Queue

from cocu.catalog.retry import timeout
from cocu.errors import NoRoomError
from cocu.pipeline import stages
from cocu.pipeline.lease import take
from cocu.platform import Platform
from cocu.settings import Settings

HARD_LIMIT_SECONDS = 60.0
"""A task that does not end when its time is over is killed with its process after this additional time."""

CATALOG_TIMEOUT = 120.0
"""How long a worker waits for a database that restarts, instead of losing the work on its task."""


class TaskTooLongError(Exception):
    """The task ran longer than a task may run."""


def run_task(platform: Platform, task_id: str, *, stopping: threading.Event) -> None:
    """Run a task if it is free and needed. A second message does no harm: only one of them gets the lease."""
    if stopping.is_set():
        return
    with timeout(CATALOG_TIMEOUT):
        try:
            lease = take(platform, task_id, stopping=stopping)
        except NoRoomError as full:  # of the catalog; the sweeper sends the task again
            platform.disk_space.report_full(full)
            return
        if lease is None:
            return
        with lease:
            try:
                stages.spec_of(lease.task.stage).run(lease)
            except SoftTimeLimitExceeded as error:
                raise TaskTooLongError(
                    f"it ran longer than the {platform.settings.task_seconds:.0f} s that a task may; "
                    "smaller shards or more time (COCU_TASK_SECONDS) would help"
                ) from error


def create_application(
    settings: Settings, platform: Callable[[], Platform], *, stopping: threading.Event
) -> Celery:
    """Return the application for a broker; its tasks run on the platform that `platform` returns.

    stopping: set it to make running tasks hand themselves back.
    """
    # The queues of memory:// belong to the whole process: two platforms in it must not share them.
    prefix = f"cocu-{secrets.token_hex(4)}" if settings.embedded else "cocu"
    # Without a host Celery warns that it assumes one.
    broker = "memory://localhost" if settings.embedded else settings.broker_url
    application = Celery(prefix, broker=broker, set_as_current=False)
    application.conf.update(
        task_queues=[
            Queue(queue_name(application, stage))  # type: ignore[no-untyped-call]
            for stage in stages.STAGES
        ],
        task_default_queue=queue_name(application, next(iter(stages.STAGES))),
        task_create_missing_queues=False,
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=True,
        # The message of a lost worker comes back at once, when its lease has not ended yet. It then finds the
        # task leased and is dropped. The sweeper sends another message when the lease has ended.
        task_reject_on_worker_lost=True,
        # Messages of memory:// are looked for every 50 ms, which is longer than many tasks take; and there
        # are no other workers for which to leave them.
        worker_prefetch_multiplier=16 if settings.embedded else 1,
        worker_max_memory_per_child=settings.worker_memory_bytes // 1024,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,
        # Requests of the API run in up to forty threads. None of them waits until another has sent.
        broker_pool_limit=40,
        broker_connection_timeout=settings.broker_seconds,
        broker_transport_options=_transport(settings),
        visibility_timeout=visibility_seconds(settings),
    )
    for stage in stages.STAGES:
        _add_task(application, stage, platform, stopping=stopping, limits=_limits(settings, stage))
    return application


def queue_name(application: Celery, stage: str) -> str:
    """Return the name of the queue of a stage."""
    return f"{application.main}.{stage}"


def visibility_seconds(settings: Settings) -> float:
    """Return after how long Redis delivers an unacknowledged message again: longer than any task runs.

    The task of a worker that died does not wait for this: the sweeper sends it when its lease has ended.
    """
    return 2 * max(spec.longest_seconds(settings) for spec in stages.STAGES.values()) + HARD_LIMIT_SECONDS


def _transport(settings: Settings) -> dict[str, Any]:
    if settings.embedded:
        return {"polling_interval": 0.05}
    return {
        "visibility_timeout": visibility_seconds(settings),
        "socket_connect_timeout": settings.broker_seconds,
        # Limits every single command. Waiting for messages is not limited by it.
        "socket_timeout": settings.broker_seconds,
        "socket_keepalive": True,
        "health_check_interval": 10,
        # One Redis list for each queue, instead of one for each of four priorities.
        "priority_steps": [0],
        # A sender tries once. Consumers retry for ever, by the `broker_connection_*` settings above.
        "max_retries": 0,
        "interval_start": 0.0,
        "connect_retries_timeout": settings.broker_seconds,
    }


def _limits(settings: Settings, stage: str) -> dict[str, float]:
    if settings.embedded:  # threads cannot be interrupted
        return {}
    longest = stages.spec_of(stage).longest_seconds(settings)
    return {"soft_time_limit": longest, "time_limit": longest + HARD_LIMIT_SECONDS}


def _add_task(
    application: Celery,
    stage: str,
    platform: Callable[[], Platform],
    *,
    stopping: threading.Event,
    limits: dict[str, float],
) -> None:
    # By default a task is shared: it would be added to every other application of the process too.
    @application.task(name=f"cocu.{stage}", ignore_result=True, shared=False, **limits)  # type: ignore[untyped-decorator]
    def run(task_id: str) -> None:
        run_task(platform(), task_id, stopping=stopping)

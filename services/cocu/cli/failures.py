"""Errors as one line for the user: what was wrong, and what to do."""

from __future__ import annotations

from cocu import machine
from cocu.client import ClientError
from cocu.errors import CocuError


class CommandFailedError(Exception):
    """A command cannot do its work; the message is for the user."""

    status = 1
    """Exit status of the process."""


class PartlyFailedError(CommandFailedError):
    """A command did only a part of its work; the message says which part it could not do."""

    status = 3


EXPECTED_ERRORS = (
    CommandFailedError,
    ClientError,
    CocuError,
    TimeoutError,
    OSError,
    MemoryError,
    ModuleNotFoundError,
)
"""Errors that the user can do something about; any other is a bug and shows its traceback."""

EXTRAS = {
    "export": {"onnx", "onnxscript", "open_clip", "torch", "torchvision"},
    "training": {"safetensors", "tensorboard", "cocu_training"},
    "server": {
        *("alembic", "celery", "fastapi", "google", "httpcore", "kombu", "llvmlite", "numba", "obstore"),
        *(
            "onnxruntime",
            "PIL",
            "prometheus_client",
            "psycopg",
            "pyarrow",
            "pydantic_settings",
            "qdrant_client",
        ),
        *("redis", "sqlalchemy", "starlette", "tokenizers", "tritonclient", "uvicorn"),
    },
}
"""Imported packages, by the extra that installs them."""


def exit_status(error: BaseException) -> int:
    """The exit status of the process after an error."""
    return error.status if isinstance(error, CommandFailedError) else 1


def describe(error: BaseException) -> str:
    """The line to print for one of EXPECTED_ERRORS."""
    if isinstance(error, ModuleNotFoundError):
        return missing_module(error.name or "a package")
    machine_error = machine.find_machine_error(error, "do this")
    if machine_error is not None:
        return machine.describe(machine_error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split())


def missing_module(name: str) -> str:
    """The message for a missing package: its name, and how to install it.

    >>> missing_module("open_clip.model")
    'this command needs open_clip; in a checkout of the project: pip install ".[export]"'
    >>> missing_module("transformers")
    'this command needs transformers, which no extra of cocu installs: pip install transformers'
    """
    package = name.partition(".")[0]
    for extra, packages in EXTRAS.items():
        if package in packages:
            return f'this command needs {package}; in a checkout of the project: pip install ".[{extra}]"'
    return f"this command needs {package}, which no extra of cocu installs: pip install {package}"

"""Errors as one line for a person: what was wrong, and what to do."""

from __future__ import annotations

from cocu.client import ClientError
from cocu.errors import CocuError


class CommandFailedError(Exception):
    """A command cannot do what it was asked; the message is for a person."""


FORESEEN = (CommandFailedError, ClientError, CocuError, TimeoutError, OSError, ModuleNotFoundError)
"""Errors that a person can do something about; every other is a defect of ours and shows its trace."""


def explained(error: BaseException) -> str:
    """The line to print for an error that is foreseen."""
    if isinstance(error, ModuleNotFoundError):
        return _of_missing_module(error.name or "a package")
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split())


def _of_missing_module(name: str) -> str:
    package = name.partition(".")[0]
    extra = "export" if package in {"torch", "open_clip", "onnx", "onnxscript"} else "server"
    return f'this command needs {package}; install it with: pip install "cocu[{extra}]"'

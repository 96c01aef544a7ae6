"""Compiled functions, kept between runs wherever there is a place for them.

numba keeps them beside the source or under the user's home. A service user may have neither: then they are
kept under XDG_CACHE_HOME, or in a folder of this user among the temporary ones; without any of these they are
compiled again by every process, which takes it some seconds.
"""

from __future__ import annotations

import logging
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import caching
from numba.core.dispatcher import Dispatcher

logger = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[Function], Function]:
    """`numba.njit` with these options, its results kept where that is possible."""

    def compile_later(function: Function) -> Function:
        dispatcher = numba.njit(**options)(function)
        _places.keep(dispatcher)
        kept: Function = dispatcher
        return kept

    return compile_later


def keep_those_of_others() -> None:
    """Make packages that are imported from here on keep their compiled functions as ours are kept.

    numba's own `cache=True` fails where no folder can be written, at the import of such a package.
    """
    Dispatcher.enable_caching = _keep  # type: ignore[assignment, method-assign]


class _Lenient(caching.FunctionCache):
    """Keeps what it can."""

    def load_overload(self, sig: object, target_context: object) -> Any:
        """What was kept; None where that cannot be read."""
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception as error:  # noqa: BLE001 - what is damaged raises whatever pickle does
            logger.warning("compiled functions cannot be read and are made anew: %s", error)
            return None

    def save_overload(self, sig: object, data: object) -> None:
        """Keep it."""
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except Exception as error:  # noqa: BLE001 - what is there may be damaged, or have no room
            _places.say(f"compiled functions are not kept: {getattr(error, 'strerror', None) or error}")


class _Places:
    """The folders to keep functions in, tried in order until one serves."""

    def __init__(self) -> None:
        self._left: Iterator[Path] | None = None
        self._said = False

    def keep(self, dispatcher: Any) -> None:
        """Keep what it compiles, if there is a place; it is that of processes started from here too."""
        while True:
            with suppress(RuntimeError, OSError):  # no locator available
                # A disk that is full or a folder that is gone must not fail what is computed already.
                dispatcher._cache = _Lenient(dispatcher.py_func)  # type: ignore[no-untyped-call]
                return
            if self._left is None:
                self._left = _folders()
            folder = next(self._left, None)
            if folder is None:
                self.say("compiled functions are not kept: no folder for them (set NUMBA_CACHE_DIR)")
                return
            os.environ["NUMBA_CACHE_DIR"] = str(folder)
            numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]

    def say(self, text: str) -> None:
        """Logs it, once in a process."""
        if not self._said:
            logger.warning(text)
        self._said = True


_places = _Places()


def _keep(dispatcher: Any) -> None:
    _places.keep(dispatcher)


def _folders() -> Iterator[Path]:
    """Folders that this user alone may write to: what lies there is run."""
    named = os.environ.get("XDG_CACHE_HOME")
    candidates = [Path(named) / "cocu" / "numba"] if named else []
    with suppress(OSError):
        candidates.append(Path(tempfile.gettempdir()) / f"cocu-numba-{os.getuid()}")
    for folder in candidates:
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.lstat()
            own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
            if own and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                yield folder

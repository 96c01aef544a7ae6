"""Files and folders that only the user of this process may use, whatever the umask."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from cocu.errors import MachineError

logger = logging.getLogger(__name__)

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_ROOT = 0


def make_private_folder(folder: Path, *, marks: Iterable[str] = ()) -> None:
    """Make a folder that only its user may enter, or close an existing one to other users.

    An existing folder is closed only if it belongs to this user and is empty or contains one of `marks`:
    names of files that show that it is a folder of the platform. A folder of root is used as it is, since
    volumes of containers come so; root uses the folder of anybody. Raises MachineError for a folder of any
    other user, OSError.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.stat()
    user = os.geteuid()
    if status.st_uid not in (user, _ROOT) and user != _ROOT:
        raise MachineError(
            f"cannot use a folder of another user (it belongs to user {status.st_uid}, this process runs as "
            f"{user}), who could change what is in it; name another folder, or give it to this user (chown)",
            str(folder),
        )
    mode = stat.S_IMODE(status.st_mode)
    # A folder with the sticky bit, such as /tmp, is shared on purpose.
    if not mode & _OTHERS or status.st_uid != user or mode & stat.S_ISVTX:
        return
    if any((folder / mark).exists() for mark in marks) or not any(folder.iterdir()):
        folder.chmod(0o700)
        logger.warning("%s was open to other users; its mode is 0700 now, not %04o", folder, mode)


def make_private_file(file: Path) -> None:
    """Make an empty file that only its user may read, or close an existing one of this user."""
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    status = file.stat()
    if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) & _OTHERS:
        file.chmod(0o600)

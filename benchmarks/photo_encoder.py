"""The encoder for photographs that lies beside this checkout, as a bundle that loads.

Some copies of it have lost the machine paths in the stack traces which the exporter writes into a graph, but
kept the lengths that enclose them, so that no runtime can read them. Filling the gaps with as many characters
restores the graph; nothing but those traces is touched.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from cocu.encoders.bundle import Bundle
from cocu.encoders.inprocess import open_encoder
from cocu.errors import InvalidBundleError

__all__ = ["SHARED_ENCODER", "photo_encoder"]

SHARED_ENCODER = Path(__file__).parent.parent.parent / "shared" / "encoders" / "photo"

# What was lost in front of each path: one slash, and thirteen characters of a folder.
GAPS = {b'File "tmp/': b'File "/tmp/', b'File "venv/': b'File "' + b"." * 13 + b"venv/"}


def photo_encoder(folder: Path) -> Path:
    """A bundle that loads: the shared one itself, or its restored copy in `folder`.

    Raises InvalidBundleError when there is none, or none that can be restored.
    """
    if _loads(SHARED_ENCODER):
        return SHARED_ENCODER
    restored = folder / "photo-encoder"
    if not restored.is_dir():
        shutil.copytree(SHARED_ENCODER, restored, copy_function=_restore)
        restored.chmod(0o755)
    open_encoder(restored, threads=1)
    return restored


def _loads(bundle: Path) -> bool:
    Bundle.load(bundle)
    try:
        open_encoder(bundle, threads=1)
    except InvalidBundleError:
        return False
    return True


def _restore(source: str, target: str) -> None:
    content = Path(source).read_bytes()
    if source.endswith(".onnx"):
        for damaged, whole in GAPS.items():
            content = content.replace(damaged, whole)
    Path(target).write_bytes(content)

"""Take out of an environment what no running platform uses: `slim.py ENVIRONMENT` (needs binutils).

Wheels bring tests, headers, symbols of compiled modules and parts that nothing here loads; together a quarter
of the image. Where something named here is gone already the build fails, so that the list stays true.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

UNUSED = (
    # Tokenizers come with an encoder's bundle, never from a hub.
    "hf_xet",
    "huggingface_hub",
    "numba/cuda/tests",
    "numba/tests",
    "numpy/**/tests",
    "numpy/_core/include",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
    # Pictures are JPEG, PNG or WebP.
    "PIL/_avif.*.so",
    "pillow.libs/libavif-*",
    # Arrow as a format of files and streams: no remote calls, and objects are read through obstore.
    "pyarrow/_azurefs.*",
    "pyarrow/_flight.*",
    "pyarrow/_gcsfs.*",
    "pyarrow/_hdfs.*",
    "pyarrow/_orc.*",
    "pyarrow/_s3fs.*",
    "pyarrow/include",
    "pyarrow/libarrow_flight.so*",
    "pyarrow/libarrow_python_flight.so*",
    "pyarrow/libarrow_s3.so*",
    "pyarrow/src",
    "pyarrow/tests",
    "pyarrow/*.pxi",
    "pyarrow/*.pyx",
)


def main(environment: Path) -> None:
    """Raises SystemExit for a pattern that fits nothing."""
    (packages,) = environment.glob("lib/python3*/site-packages")
    for pattern in UNUSED:
        found = sorted(packages.glob(pattern))
        if not found:
            sys.exit(f"nothing in the environment is called {pattern}: take it off the list in slim.py")
        for path in found:
            remove(path)
    share_copies(packages / "pyarrow")
    for library in sorted(packages.rglob("*.so*")):
        if library.is_file() and not library.is_symlink() and loads(library):
            strip(library)


def remove(path: Path) -> None:
    """A file or a whole folder; one that went with the folder above it is passed over."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def share_copies(folder: Path) -> None:
    """The wheel holds a library once for each of its names; one of them and links do as well."""
    kept: dict[bytes, Path] = {}
    for path in sorted(folder.glob("*.so*"), key=lambda path: len(path.name)):
        first = kept.setdefault(path.read_bytes(), path)
        if first is not path:
            path.unlink()
            path.symlink_to(first.name)


def strip(library: Path) -> None:
    """Without its symbols, unless it cannot be loaded then: some have been patched in ways strip breaks."""
    whole = library.read_bytes()
    subprocess.run(["strip", "--strip-unneeded", library], check=True)  # noqa: S603, S607
    if not loads(library):
        library.write_bytes(whole)


def loads(library: Path) -> bool:
    """Whether the dynamic linker takes it, in a process of its own."""
    load = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", load, library], capture_output=True, check=False)  # noqa: S603
    return done.returncode == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Fetch what the pages ship of other projects from the npm registry, by name and version.

python deploy/vendor.py     (or `make vendor`; needs npm, and nothing is fetched at any other time)

The table is `vendor.toml` beside the files. A file whose bytes have another SHA-256 than the table
says is not written, and the exit status is 1: a new version is a new table first.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Any

VENDOR = Path(__file__).parent.parent / "services" / "cocu" / "dashboard" / "static" / "vendor"


def fetch(folder: Path) -> list[str]:
    """Write the files of the table into its folder; what is wrong with those that are not written."""
    table = tomllib.loads((folder / "vendor.toml").read_text(encoding="utf-8"))
    wrong: list[str] = []
    for asset in table.values():
        package = f"{asset['package']}@{asset['version']}"
        with tempfile.TemporaryDirectory() as scratch:
            command = ["npm", "pack", package, "--silent", "--ignore-scripts", "--pack-destination", scratch]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
            (packed,) = Path(scratch).glob("*.tgz")
            wrong += [f"{package}: {problem}" for problem in unpack(packed, asset["files"], folder)]
    return wrong


def unpack(packed: Path, files: dict[str, dict[str, Any]], folder: Path) -> list[str]:
    """Write files of a package whose bytes are those of the table; what is wrong with the others."""
    wrong = []
    with tarfile.open(packed) as tar:
        for name, entry in files.items():
            content = tar.extractfile(f"package/{entry['source']}")
            data = b"" if content is None else content.read()
            digest = hashlib.sha256(data).hexdigest()
            if digest == entry["sha256"]:
                (folder / name).write_bytes(data)
            else:
                wrong.append(f"{entry['source']} has the SHA-256 {digest}, not {entry['sha256']}; see {name}")
    return wrong


if __name__ == "__main__":
    problems = fetch(VENDOR)
    print("\n".join(problems) or f"every file of {VENDOR.name}/vendor.toml is there")
    sys.exit(bool(problems))

"""Write the Python code of the messages: `python proto/generate.py` (needs grpcio-tools).

The code is committed, so that nothing has to be generated where the platform is installed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
SOURCE = "cocu/v1/batches.proto"
TARGET = FOLDER.parent / "services" / "cocu" / "batches" / "messages"
HEADER = f"# Made of proto/{SOURCE} by proto/generate.py.\n# fmt: off\n# ruff: noqa\n"


def generated() -> dict[str, str]:
    """The code of the messages as they are now, by file. Raises ImportError without grpcio-tools."""
    from grpc_tools import protoc  # noqa: PLC0415 - only those who change the messages have it

    with tempfile.TemporaryDirectory() as folder:
        wanted = [f"--python_out={folder}", f"--pyi_out={folder}"]
        if protoc.main(["protoc", f"-I{FOLDER}", *wanted, SOURCE]) != 0:
            raise ValueError(f"proto/{SOURCE} cannot be compiled; the lines above say why")
        made = sorted((Path(folder) / SOURCE).parent.iterdir())
        return {file.name: HEADER + file.read_text(encoding="utf-8") for file in made}


if __name__ == "__main__":
    for name, code in generated().items():
        (TARGET / name).write_text(code, encoding="utf-8")

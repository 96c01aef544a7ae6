"""A platform that answers HTTP, to be killed: prints its address once it does.

python -m tests.faults.serving_process DATA ENCODERS
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.local_platform import running


def main() -> None:
    data, encoders = (Path(argument) for argument in sys.argv[1:])
    with running(data, encoders) as server:
        print(server.url, flush=True)
        while True:
            time.sleep(1)


if __name__ == "__main__":
    main()

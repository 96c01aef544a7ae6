"""Write `.env` for docker-compose.yml, with secrets that nobody else has: `python3 deploy/environment.py`.

    --profile gpu       Triton on a GPU (default: cpu); more than one: --profile cpu --profile observability
    --file PATH         somewhere else than .env beside docker-compose.yml

A file that is there is kept: its secrets are those that the volumes were made with.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
TRAINING = ("# The pages show the runs of the training service.", "COCU_TRAINING=http://training:8100")


def environment(profiles: list[str]) -> str:
    """The text of the file; every call draws new secrets, of characters that mean nothing in a URL."""
    lines = [
        "COMPOSE_PROJECT_NAME=cocu",
        f"COMPOSE_PROFILES={','.join(profiles)}",
        f"POSTGRES_PASSWORD={secrets.token_hex(24)}",
        f"REDIS_PASSWORD={secrets.token_hex(24)}",
        f"QDRANT_API_KEY={secrets.token_hex(24)}",
        f"GRAFANA_PASSWORD={secrets.token_hex(12)}",
        "# The API listens on this machine only; 0.0.0.0 opens it to others.",
        "COCU_ADDRESS=127.0.0.1",
        "COCU_PORT=8000",
        *(TRAINING if "gpu" in profiles else ()),
        "# Objects in a bucket instead of the volume:",
        "# COCU_OBJECTS_URL=s3://bucket/prefix",
        "# AWS_ACCESS_KEY_ID=...",
        "# AWS_SECRET_ACCESS_KEY=...",
        "# AWS_REGION=...",
        "# Any other setting of the platform reaches its containers from here, by its name:",
        "# COCU_IMPORT_BUCKETS=s3://bucket/prefix,s3://another",
        "# COCU_FETCH_NETWORKS=10.1.0.0/16",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Writes the file, readable by its owner alone; raises SystemExit where there is one."""
    parser = argparse.ArgumentParser(description="Write .env for docker-compose.yml, with new secrets.")
    parser.add_argument(
        "--profile",
        action="append",
        choices=("cpu", "gpu", "observability", "dashboard"),
        help="default: cpu",
    )
    parser.add_argument("--file", type=Path, default=REPOSITORY / ".env", help="default: .env")
    chosen = parser.parse_args()
    try:
        descriptor = os.open(chosen.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        sys.exit(
            f"{chosen.file} is there already, with the secrets that the volumes were made with; "
            "to draw new ones, remove it and the volumes (docker compose down --volumes)"
        )
    with os.fdopen(descriptor, "w") as file:
        file.write(environment(chosen.profile or ["cpu"]))
    print(f"{chosen.file}: secrets drawn; next: docker compose up")


if __name__ == "__main__":
    main()

"""Pin the official images of docker-compose.yml by digest: `python3 deploy/pin_images.py >> .env`.

A tag can come to mean another image; a digest cannot. Asks the registries (docker buildx imagetools) and
prints a line for each image, `REDIS_IMAGE=redis:…@sha256:…`, which Compose takes instead of the tag alone.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

COMPOSE = Path(__file__).parent.parent / "docker-compose.yml"


def official(text: str) -> dict[str, str]:
    """The images that are pulled, by the variable that names each; ours are built."""
    found = dict(re.findall(r"\$\{(\w+_IMAGE):-([^}]+)\}", text))
    return {name: image for name, image in found.items() if not name.startswith("COCU_")}


def digest(image: str) -> str:
    """The digest that the registry has for an image; raises SystemExit, saying why there is none."""
    command = ["docker", "buildx", "imagetools", "inspect", image, "--format", "{{.Manifest.Digest}}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    found = done.stdout.strip()
    if done.returncode != 0 or not re.fullmatch("sha256:[0-9a-f]{64}", found):
        sys.exit(f"no digest of {image}: {done.stderr.strip() or found or 'the registry gave none'}")
    return found


def main() -> None:
    """Prints all lines, or none where one image cannot be resolved."""
    images = official(COMPOSE.read_text())
    print("\n".join([f"{name}={image}@{digest(image)}" for name, image in images.items()]))


if __name__ == "__main__":
    main()

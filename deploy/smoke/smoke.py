"""Build the images, compose the platform, curate the scenes through it, take everything down again.

    python3 deploy/smoke/smoke.py [--keep]     (`make compose-smoke`)

Needs Docker with Compose; where images cannot be pulled, also root and debootstrap (see stand_ins.sh).
--keep leaves images behind, so that the next run builds less.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent.parent
COMPOSE = REPOSITORY / "docker-compose.yml"
PROJECT = "cocu-smoke"
IMAGES = {"COCU_IMAGE": f"{PROJECT}:latest", "COCU_TRITON_IMAGE": f"{PROJECT}-triton:latest"}
STAND_INS = {
    "python": "PYTHON_IMAGE",
    "redis": "REDIS_IMAGE",
    "postgres": "POSTGRES_IMAGE",
    "triton": "TRITON_IMAGE",
}
MOST_BYTES = 600_000_000
PATIENCE = 300.0
FORBIDDEN = ("pip", "apt", "apt-get", "gcc", "cc", "make", "perl", "curl")


def main() -> None:
    """Raises SystemExit, saying what went wrong, with the logs of all services."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="leave the images behind")
    keep = parser.parse_args().keep
    # Whoever is told to stop takes down what he has put up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("compose-smoke: told to stop"))
    there_before = images()
    with tempfile.TemporaryDirectory() as folder:
        composition = Composition(Path(folder))
        try:
            composition.build()
            composition.up(workers=2)
            composition.curate()
        except (subprocess.CalledProcessError, AssertionError) as error:
            composition.say("logs", "--no-color", "--tail", "60")
            sys.exit(f"compose-smoke: {error}")
        finally:
            composition.say("down", "--volumes", "--remove-orphans", "--timeout", "30")
            if not keep:
                clean(there_before)
    print("compose-smoke: the composed platform made the same archives as one process")


class Composition:
    """The composed platform under a project name and port of its own."""

    def __init__(self, folder: Path) -> None:
        variables = folder / "env"
        run(sys.executable, str(REPOSITORY / "deploy" / "environment.py"), "--file", str(variables))
        own = {**IMAGES, "COMPOSE_PROJECT_NAME": PROJECT, "COCU_PORT": "0"}
        with variables.open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in own.items())
        # What the caller's shell or .env says about a platform of his own is none of this one's.
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("COCU_", "COMPOSE_"))
        }
        # Stand-ins are known to Docker itself; a builder beside it would try to pull them.
        self._environment = {**kept, "BUILDX_BUILDER": "default"}
        self._command = [*compose(), "--project-directory", str(REPOSITORY), "--env-file", str(variables)]
        self._command += ["--file", str(COMPOSE), "--file", str(Path(__file__).parent / "compose.yml")]

    def say(self, *arguments: str) -> None:
        """Runs a command of Compose whose end does not matter."""
        subprocess.run([*self._command, *arguments], env=self._environment, check=False)  # noqa: S603

    def do(self, *arguments: str) -> str:
        """Runs a command of Compose; what it printed. Raises CalledProcessError."""
        return run(*self._command, *arguments, environment=self._environment)

    def build(self) -> None:
        """Images of ours, on official ones or their stand-ins; checks what must hold of ours."""
        official = dict(re.findall(r"\$\{(\w+_IMAGE):-([^}]+)\}", COMPOSE.read_text()))
        wanted = [f"{part}={official[name]}" for part, name in STAND_INS.items()]
        subprocess.run([Path(__file__).parent / "stand_ins.sh", *wanted], check=True)  # noqa: S603
        self.do("build", "--quiet", "api", "triton")
        image = IMAGES["COCU_IMAGE"]
        (described,) = json.loads(run("docker", "image", "inspect", image))
        size = described["Size"]
        print(f"{image}: {size / 1e6:.0f} MB", flush=True)
        assert size < MOST_BYTES, f"{image} has {size / 1e6:.0f} MB, more than {MOST_BYTES / 1e6:.0f}"
        assert described["Config"]["User"] == "10001:10001", "the image must not run as root"
        tools = "for tool in $TOOLS; do command -v $tool; done; python3 -m pip --version 2> /dev/null; true"
        found = run(
            "docker",
            "run",
            "--rm",
            "--env",
            f"TOOLS={' '.join(FORBIDDEN)}",
            "--entrypoint",
            "sh",
            image,
            "-c",
            tools,
        )
        assert not found.strip(), f"{image} holds what it must not: {found.split()}"

    def up(self, *, workers: int) -> None:
        """Starts everything; checks that nothing but the API can be reached, and that it is healthy."""
        self.do("up", "--detach", "--scale", f"worker={workers}")
        deadline = time.monotonic() + PATIENCE
        while True:
            containers = json.loads(run("docker", "inspect", *self.do("ps", "--quiet").split()))
            ill = {
                container["Name"]
                for container in containers
                if container["State"].get("Health", {}).get("Status", "healthy") != "healthy"
                and container["State"]["Status"] != "exited"
            }
            if not ill:
                break
            assert time.monotonic() < deadline, f"not healthy after {PATIENCE:.0f} s: {sorted(ill)}"
            time.sleep(2)
        for container in containers:
            service = container["Config"]["Labels"]["com.docker.compose.service"]
            host = container["HostConfig"]
            assert host["ReadonlyRootfs"], f"{service} can write to its image"
            assert "ALL" in host["CapDrop"], f"{service} has capabilities"
            assert container["Config"]["User"] not in ("", "0", "root"), f"{service} runs as root"
            published = [port for port in (host["PortBindings"] or {}).values() if port]
            assert service == "api" or not published, f"{service} can be reached from outside"

    def curate(self) -> None:
        """The scenes through the platform, and again in one process; then the API as seen from outside."""
        print(self.do("run", "--rm", "smoke"), end="", flush=True)
        address = self.do("port", "api", "8000").strip()
        with urllib.request.urlopen(f"http://{address}/readyz", timeout=30) as answer:
            assert answer.status == 200, "the API is not ready"


def compose() -> list[str]:
    """The command of Compose that this machine has."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and call(*command, "version") == 0:
            return command
    sys.exit("compose-smoke needs Docker with Compose: docker compose version")


def run(*command: str, environment: dict[str, str] | None = None) -> str:
    """What a command printed; its errors go to the terminal. Raises CalledProcessError."""
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    return done.stdout


def call(*command: str) -> int:
    """The exit code of a command whose words do not matter."""
    quiet = subprocess.DEVNULL
    return subprocess.run(command, stdout=quiet, stderr=quiet, check=False).returncode  # noqa: S603


def images() -> set[str]:
    """The names of the images that Docker holds."""
    return set(run("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split())


def clean(there_before: set[str]) -> None:
    """Removes images that this run made or pulled, and what their builds left."""
    made = sorted(name for name in images() - there_before if "<none>" not in name)
    if made:
        call("docker", "image", "rm", "--force", *made)
    for label in ("cocu.stand-in", "cocu.stage"):
        call("docker", "image", "prune", "--force", "--filter", f"label={label}")


if __name__ == "__main__":
    main()

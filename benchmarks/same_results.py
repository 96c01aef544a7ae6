"""Whether this checkout curates as another commit does: the same ids, content hashes and archives.

python -m benchmarks.same_results COMMIT

COMMIT is checked out beside this one and serves a new data folder, into which the scenes (and the
photographs, where they are present) are put as ready embeddings. Then each of the two codes opens a copy of
that folder and curates with the same parameters, all of them written out. Ids, content hashes, concepts,
clusters and origins must be equal, scores equal to 1e-5. Exits with 1 where something differs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.labelled import REPOSITORY, Labelled, photographs, scenes

Answer = TypeVar("Answer")

TOLERANCE = 1e-5
SECONDS = 600.0
"""How long a server, an upload or a curation may take."""
IVF_BEFORE = "cells"
"""What the first release calls search="ivf"."""

PARAMETERS: dict[str, Any] = {
    "neighbours": 16,
    "search": "exact",
    "own_caption": True,
    "scoring": "evidence",
    "clustering": True,
    "min_score": None,
    "max_concepts": None,
    "duplicate_similarity": 0.9,
    "seed": 0,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "evidence": {},
    "evidence, ivf": {"search": "ivf"},
    "set": {"scoring": "set"},
    "official": {"scoring": "official"},
    "evidence, few": {"own_caption": False, "neighbours": 5, "max_concepts": 8, "min_score": -2.0, "seed": 3},
}


class Result(NamedTuple):
    """A curation of one code: what must be equal, and the scores (score, global, local), which may differ a
    little."""

    id: str
    content_hash: str
    archives: list[Any]
    scores_C3: np.ndarray[Any, Any]


def compare(commit: str) -> int:
    """Print what is equal and what is not; the exit status."""
    different = False
    with (
        tempfile.TemporaryDirectory(prefix="same-results-") as scratch,
        checked_out(commit, scratch) as before,
    ):
        for labelled in (scenes(), photographs()):
            if labelled is None:
                print("a data set is absent here and left out")
                continue
            folder = Path(scratch, labelled.name)
            dataset = ingest(before, labelled, folder / "data")
            results = [
                curate_all(code, labelled, folder, dataset, folder / name)
                for name, code in (("before", before), ("now", REPOSITORY))
            ]
            for variant in VARIANTS:
                verdicts = verdicts_of(*(result[variant] for result in results))
                different |= not all(holds for holds, _ in verdicts.values())
                said = "  ".join(f"{name}: {text}" for name, (_, text) in verdicts.items())
                print(f"{labelled.name:12} {variant:14} {said}", flush=True)
    print("DIFFERENT" if different else "the same")
    return int(different)


def verdicts_of(before: Result, now: Result) -> dict[str, tuple[bool, str]]:
    """By what was compared: whether it holds, and what to print."""
    exact = {
        "id": before.id == now.id,
        "content hash": before.content_hash == now.content_hash,
        "archives": before.archives == now.archives,
    }
    verdicts = {name: (equal, "equal" if equal else "DIFFERENT") for name, equal in exact.items()}
    if before.scores_C3.shape == now.scores_C3.shape:
        furthest = float(np.abs(before.scores_C3 - now.scores_C3).max(initial=0.0))
        verdicts["scores"] = (furthest <= TOLERANCE, f"{furthest:.1e} apart")
    # The last bits of sums may differ between processors; here one processor computes both.
    return verdicts


@contextmanager
def checked_out(commit: str, scratch: str) -> Iterator[Path]:
    """The commit's files in a folder of their own."""
    folder = Path(scratch, "before")
    git = ["git", "-C", str(REPOSITORY), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), commit], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def ingest(code: Path, labelled: Labelled, data: Path) -> str:
    """Put a data set's captions and ready embeddings into a new data folder; the id of the dataset."""
    source = data.parent / "ready"
    for name in ("img_emb", "metadata"):
        (source / name).mkdir(parents=True)
    np.save(source / "img_emb" / "img_emb_0.npy", labelled.images_ND.astype(np.float16))
    keys = [f"{row:06d}" for row in range(len(labelled.captions))]
    table = pa.table({"image_path": keys, "caption": list(labelled.captions)})
    pq.write_table(table, source / "metadata" / "metadata_0.parquet")
    archive = shutil.make_archive(str(source), "tar", source)
    with served(code, labelled, data) as client:
        dataset = str(answer(client.post("/v1/datasets", json={"name": labelled.name}))["id"])
        path = f"/v1/datasets/{dataset}/uploads/ready.tar"
        content = Path(archive).read_bytes()
        answer(client.put(path, params={"encoder": labelled.encoder.name}, content=content))
        described = wait(
            lambda: answer(client.get(f"/v1/datasets/{dataset}")), lambda now: not now["ingesting"]
        )
        if described["samples"] == 0:
            raise RuntimeError(f"nothing was taken of {labelled.name}: {described}")
    return dataset


def curate_all(code: Path, labelled: Labelled, folder: Path, dataset: str, data: Path) -> dict[str, Result]:
    """Curate a copy of the data folder in every variant."""
    shutil.copytree(folder / "data", data)
    with served(code, labelled, data) as client:
        return {name: curate(client, dataset, PARAMETERS | choice) for name, choice in VARIANTS.items()}


def curate(client: httpx.Client, dataset: str, parameters: dict[str, Any]) -> Result:
    """Create a curation, wait for it and read all its archives."""
    path = f"/v1/datasets/{dataset}/curations"
    response = client.post(path, json={"parameters": parameters})
    if response.status_code == httpx.codes.UNPROCESSABLE_ENTITY and parameters["search"] == "ivf":
        response = client.post(path, json={"parameters": parameters | {"search": IVF_BEFORE}})
    curation = str(answer(response)["id"])
    ended = ("completed", "completed_with_errors", "failed", "cancelled")
    record = wait(lambda: answer(client.get(f"/v1/curations/{curation}")), lambda now: now["state"] in ended)
    if record["state"] != "completed":
        raise RuntimeError(f"the curation ended as {record['state']}: {record}")
    archives, scores = [], []
    cursor: dict[str, str] = {}
    while True:
        page = answer(client.get(f"/v1/curations/{curation}/archives", params={"limit": "200", **cursor}))
        for item in page["items"]:
            concepts = item["concepts"]
            scores += [[each["score"], each["global"], each["local"]] for each in concepts]
            exact = [
                [each["concept"], each["cluster"], each["added"], origins(each["origins"])]
                for each in concepts
            ]
            archives.append([item["key"], item["caption"], exact])
        if page.get("next") is None:
            break
        cursor = {"cursor": page["next"]}
    return Result(curation, record["content_hash"], archives, np.array(scores, np.float64).reshape(-1, 3))


def origins(items: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """What must be equal of origins: all but the cosines."""
    return [(item["kind"], item["key"], item["caption"]) for item in items]


@contextmanager
def served(code: Path, labelled: Labelled, data: Path) -> Iterator[httpx.Client]:
    """A client of a platform of this code on this data folder, in a process of its own."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("COCU_")}
    environment = settings | {"PYTHONPATH": str(code / "services"), "NO_COLOR": "1", "COLUMNS": "200"}
    encoder = str(labelled.encoder.bundle.folder)
    command = [sys.executable, "-m", "cocu", "serve", "--port", "0"]
    command += ["--data", str(data), "--encoder", encoder]
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, cwd=code, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            url = wait(lambda: said_url(log, process), lambda found: found is not None)
            with httpx.Client(base_url=str(url), timeout=SECONDS) as client:
                yield client
        finally:
            process.terminate()


def said_url(log: Any, process: subprocess.Popen[bytes]) -> str | None:
    """Where the server says that it listens, once it does."""
    log.seek(0)
    text = log.read()
    if process.poll() is not None:
        raise RuntimeError(f"the server ended: {text}")
    match = re.search(r"cocu on (http://\S+?),", text)
    return match and match[1]


def answer(response: httpx.Response) -> dict[str, Any]:
    """The body of an answer that is no error."""
    if response.is_error:
        raise RuntimeError(f"{response.request.method} {response.request.url}: {response.text}")
    body: dict[str, Any] = response.json()
    return body


def wait(ask: Callable[[], Answer], is_done: Callable[[Answer], bool]) -> Answer:
    """Ask until it is done."""
    until = time.monotonic() + SECONDS
    while not is_done(now := ask()):
        if time.monotonic() > until:
            raise TimeoutError(f"not done after {SECONDS:g} s: {now}")
        time.sleep(0.2)
    return now


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("give one commit: python -m benchmarks.same_results COMMIT")
    sys.exit(compare(sys.argv[1]))

"""The object store fails, is slow, silent or full: an object is complete or missing, and nothing hangs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.faults.distributed import Distributed, begin, outcome, upload
from tests.faults.fault_counts import cases
from tests.local_platform import running, tar_of_samples
from tests.servers.redis_server import RedisServer
from tests.servers.tcp_proxy import TcpProxy, tcp_proxy

from cocu.errors import NotFoundError, UnavailableError
from cocu.storage import remote
from cocu.storage.objects import ObjectStore

REQUEST = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) ")
FAILED = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
MEBIBYTE = 1 << 20


def failing(every: int, methods: bytes = b"GET HEAD PUT POST DELETE") -> Callable[[bytes], bytes | None]:
    """Answer every n-th request of these methods with 500."""
    count = 0

    def answer(data: bytes) -> bytes | None:
        nonlocal count
        begun = REQUEST.match(data)
        if begun is None or begun[1] not in methods:
            return None
        count += 1
        return FAILED if count % every == 0 else None

    return answer


@pytest.fixture
def proxy(s3_address: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TcpProxy]:
    """A proxy before the S3 server, for this process and those that it starts."""
    port = urlsplit(s3_address).port
    assert port is not None
    with tcp_proxy(port) as started:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{started.port}")
        yield started


@pytest.fixture
def objects(proxy: TcpProxy, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """A store behind the proxy, with shorter timeouts than a real one."""
    quick = {
        "init_backoff": timedelta(milliseconds=10),
        "max_backoff": timedelta(milliseconds=100),
        "base": 2,
    }
    retries = {"max_retries": 4, "retry_timeout": timedelta(seconds=5), "backoff": quick}
    monkeypatch.setattr(remote, "_RETRIES", retries)
    monkeypatch.setattr(remote, "_CLIENT", {**remote._CLIENT, "timeout": timedelta(seconds=1)})
    return ObjectStore.open(bucket, cache=tmp_path / "cache")


def calls(objects: ObjectStore) -> dict[str, Callable[[], object]]:
    return {
        "get": lambda: objects.get("a"),
        "get_range": lambda: objects.get_range("a", 1, 2),
        "chunks": lambda: b"".join(objects.chunks("a")),
        "size": lambda: objects.size("a"),
        "local_path": lambda: objects.local_path("a"),
        "list": objects.list,
        "put": lambda: objects.put("b", b"x"),
        "delete": lambda: objects.delete("b"),
        "delete_prefix": lambda: objects.delete_prefix("c"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("every", [2, 3])
def test_errors_now_and_then__are_not_noticed(objects: ObjectStore, proxy: TcpProxy, every: int) -> None:
    proxy.answer_with(failing(every))
    data = os.urandom(20 * MEBIBYTE)
    for turn in range(3):
        objects.put(f"a/{turn}", data[turn:])
        assert objects.get(f"a/{turn}") == data[turn:]
        assert objects.local_path(f"a/{turn}").read_bytes() == data[turn:]
        assert b"".join(objects.chunks(f"a/{turn}")) == data[turn:]
    assert objects.list("a") == ["a/0", "a/1", "a/2"]
    assert objects.delete_prefix("a") == 3

    assert proxy.answers > 10


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["errors", "refusing", "silent"])
def test_errors_all_the_time__are_an_unavailable_store(
    objects: ObjectStore, proxy: TcpProxy, fault: str
) -> None:
    objects.put("a", b"0123")
    began = time.monotonic()
    if fault == "errors":
        proxy.answer_with(failing(1))
    else:
        setattr(proxy, fault, True)
        proxy.cut_all()
    with ThreadPoolExecutor(9) as pool:
        begun = {name: pool.submit(call) for name, call in calls(objects).items()}
        ended = {name: call.exception(60) for name, call in begun.items()}
    took = time.monotonic() - began
    proxy.answer_with(None)
    proxy.silent = proxy.refusing = False
    proxy.cut_all()

    assert {name: type(error) for name, error in ended.items()} == dict.fromkeys(ended, UnavailableError)
    assert took < 30
    assert objects.get("a") == b"0123"
    assert not list(objects.scratch.rglob("*.part"))


@pytest.mark.slow
def test_slow__is_waited_for(objects: ObjectStore, proxy: TcpProxy) -> None:
    proxy.delay_seconds = 0.2
    objects.put("a", b"0123")

    assert objects.local_path("a").read_bytes() == b"0123"


@pytest.mark.slow
def test_put_cut_off_in_the_middle__leaves_what_was_there(objects: ObjectStore, proxy: TcpProxy) -> None:
    objects.put("a", b"before")
    sent = 0

    def after_some_megabytes(data: bytes) -> bool:
        nonlocal sent
        sent += len(data)
        return sent > 3 * MEBIBYTE

    proxy.cut_when(after_some_megabytes, forward=False)
    with pytest.raises(UnavailableError):
        objects.put("a", os.urandom(20 * MEBIBYTE))
    proxy.cut_when(None, forward=False)

    assert objects.get("a") == b"before"
    assert objects.list() == ["a"]
    assert not list(objects.scratch.rglob("*.part"))


@pytest.mark.slow
def test_writer_killed_in_the_middle_of_a_put__leaves_what_was_there(
    objects: ObjectStore, proxy: TcpProxy, bucket: str, tmp_path: Path
) -> None:
    objects.put("a", b"before")
    program = (
        "import sys; from pathlib import Path; from cocu.storage.objects import ObjectStore\n"
        "ObjectStore.open(sys.argv[1], cache=Path(sys.argv[2])).put('a', bytes(30_000_000))\n"
    )
    arrived = threading.Event()
    proxy.answer_with(lambda data: arrived.set() if b"partNumber=2" in data else None)  # type: ignore[func-returns-value]
    proxy.delay_seconds = 0.01
    process = subprocess.Popen([sys.executable, "-c", program, bucket, str(tmp_path / "other")])
    assert arrived.wait(60)
    process.kill()
    process.wait()
    proxy.delay_seconds = 0.0

    assert objects.get("a") == b"before"


@pytest.mark.slow
def test_bucket_that_is_not_there__is_unavailable_not_a_missing_object(objects: ObjectStore) -> None:
    elsewhere = ObjectStore.open("s3://no-such-bucket/prefix", cache=objects.scratch)

    with pytest.raises(UnavailableError, match="bucket"):
        elsewhere.put("a", b"x")
    with pytest.raises(NotFoundError):
        elsewhere.get("a")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs rights that this user has not")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
def test_full_disk__of_objects_in_files(small_disk: Path) -> None:
    objects = ObjectStore.open(str(small_disk / "objects"))
    objects.put("a", b"before")
    with pytest.raises(UnavailableError, match="no space"):
        objects.put("a", bytes(8 * MEBIBYTE))
    with pytest.raises(UnavailableError, match="no space"), objects.writing("a") as file:
        file.write(bytes(8 * MEBIBYTE))

    assert not list(small_disk.rglob("*.part"))
    assert objects.get("a") == b"before"
    objects.put("a", bytes(2 * MEBIBYTE))
    assert objects.size("a") == 2 * MEBIBYTE


@pytest.mark.slow
def test_full_disk__of_local_copies_makes_room_for_the_next(
    bucket: str, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cocu.storage.local_cache.KEPT_SECONDS", 0.0)
    elsewhere = ObjectStore.open(bucket)
    for name in ("a", "b", "c"):
        elsewhere.put(name, name.encode() * (2 * MEBIBYTE))
    elsewhere.put("large", bytes(8 * MEBIBYTE))
    objects = ObjectStore.open(bucket, cache=small_disk / "cache")
    for name in ("a", "b", "c", "a"):
        assert objects.local_path(name).stat().st_size == 2 * MEBIBYTE
    with pytest.raises(UnavailableError, match="no space"):
        objects.local_path("large")

    assert not list(small_disk.rglob("*.part"))
    assert objects.local_path("b").read_bytes() == b"b" * (2 * MEBIBYTE)


@pytest.mark.slow
def test_file_larger_than_a_process_may_write__is_a_full_disk(tmp_path: Path) -> None:
    program = (
        "import resource, sys; from cocu.errors import UnavailableError\n"
        "from cocu.storage.objects import ObjectStore\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "objects = ObjectStore.open(sys.argv[1]); objects.put('a', b'before'); failed = 0\n"
        "try: objects.put('a', bytes(5_000_000))\n"
        "except UnavailableError: failed += 1\n"
        "try:\n"
        "    with objects.writing('a') as file: file.write(bytes(5_000_000))\n"
        "except UnavailableError: failed += 1\n"
        "print(failed, objects.get('a').decode(), objects.list())\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )

    assert ended.stdout.strip() == "2 before ['a']"
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.slow
def test_full_disk__of_a_platform_is_answered_503_until_there_is_room(
    small_disk: Path, tmp_path: Path, tiny_encoders: Path
) -> None:
    samples = {f"{number:04d}": "a dog on a bench " * 500 for number in range(400)}
    content = tar_of_samples(samples)
    with running(tmp_path / "data", tiny_encoders, objects_url=(small_disk / "objects").as_uri()) as server:
        dataset = httpx.post(f"{server.url}/v1/datasets", json={"name": "set"}).json()["id"]

        def send() -> httpx.Response:
            url = f"{server.url}/v1/datasets/{dataset}/uploads/a.tar"
            headers = {"Content-Type": "application/x-tar"}
            return httpx.put(url, content=content, headers=headers, timeout=60)

        refused = send()
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert str(small_disk) not in refused.text
        subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
        assert send().status_code in (200, 201, 202)
        end = time.monotonic() + 60
        while httpx.get(f"{server.url}/v1/datasets/{dataset}").json()["samples"] < len(samples):
            assert time.monotonic() < end, "the upload was not ingested"
            time.sleep(0.05)


@pytest.fixture
def platform(
    tmp_path: Path, redis: RedisServer, tiny_encoders: Path, proxy: TcpProxy, bucket: str
) -> Iterator[Distributed]:
    """API, sweeper and a worker of two processes, whose objects are in a bucket behind the proxy."""
    options = {"broker_url": redis.url, "encoders_url": tiny_encoders, "objects_url": bucket}
    with Distributed(tmp_path / "many", **options) as started:
        started.start_api()
        started.start_sweeper()
        started.start_worker(processes=2)
        yield started


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", cases("errors", "away", "slow"))
def test_whole_curation__comes_to_the_same(
    platform: Distributed, proxy: TcpProxy, expected: dict[str, Any], fault: str
) -> None:
    with platform.client() as client:
        if fault == "errors":
            proxy.answer_with(failing(4))
        if fault == "slow":
            proxy.delay_seconds = 0.03
        curation = begin(client, platform.folder, upload(client, platform.folder))
        if fault == "away":
            proxy.refusing = True
            proxy.cut_all()
            time.sleep(3)
            proxy.refusing = False
        actual = outcome(client, curation, timeout=120)
        proxy.answer_with(None)

    assert actual == expected
    assert all(part.alive for part in platform.parts)

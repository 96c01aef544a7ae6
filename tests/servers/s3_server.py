"""An S3 server on localhost for tests: it answers the real API over HTTP."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import boto3

BUCKET = "cocu-tests"


@contextmanager
def s3_server() -> Iterator[str]:
    """Its address; it keeps everything in memory and ends with the block."""
    # The system gives a free port; moto says which as soon as it listens.
    command = [sys.executable, "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    reading: threading.Thread | None = None
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "Running on http://" in line:
                # It says something about every request, and would wait for somebody to read that.
                reading = threading.Thread(target=process.stdout.read, daemon=True)
                reading.start()
                yield "http://" + line.split("http://")[1].strip()
                break
        else:
            raise AssertionError("the S3 server for tests ended before it listened")
    finally:
        process.kill()
        process.wait()
        if reading is not None:
            reading.join()
        process.stdout.close()


def s3_variables(address: str) -> dict[str, str]:
    """The environment that says how to reach a server; any credentials will do."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "of-the-tests",
        "AWS_SECRET_ACCESS_KEY": "of-the-tests",
        "AWS_REGION": "us-east-1",
    }


def new_place(address: str) -> str:
    """The s3:// URL of a prefix that nothing lies under."""
    client = boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id="of-the-tests",
        aws_secret_access_key="of-the-tests",
    )
    client.create_bucket(Bucket=BUCKET)
    client.close()
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"

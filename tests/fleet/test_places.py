"""Cases in other places than this machine's folders: object stores and whatever else fsspec reads."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import pyarrow.parquet
import pytest
from moto.server import ThreadedMotoServer

from oomscope.errors import BadQuestion, NotOffered
from oomscope.fleet import places
from oomscope.model.fleet import Case
from tests.fleet.fleets import lay_out, triaged, write

OOMSCOPE = Path(sys.executable).parent / "oomscope"
BUCKET = "cases"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 server on loopback, for this process and those it starts."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    told = {"ENDPOINT_URL": address, "ACCESS_KEY_ID": "any", "SECRET_ACCESS_KEY": "any", "DEFAULT_REGION": "eu-north-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in told.items():
            patch.setenv(f"AWS_{name}", value)
        yield address
    server.stop()


@pytest.fixture
def store(server: str) -> None:
    """An empty bucket."""
    urllib.request.urlopen(urllib.request.Request(f"{server}/moto-api/reset", method="POST")).close()
    boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-north-1"})
    places._system(f"s3://{BUCKET}")[0].invalidate_cache()


def upload(fleet: Path) -> str:
    """The files of a folder into the bucket; their URL there."""
    client = boto3.client("s3")
    for path in fleet.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), BUCKET, f"fleet/{path.relative_to(fleet)}")
    return f"s3://{BUCKET}/fleet"


def without_place(case: Case) -> Case:
    return dataclasses.replace(case, path="", link="", seen="", seen_by="")


@pytest.mark.usefixtures("store")
def test_an_object_store_gives_the_same_cases(tmp_path: Path) -> None:
    """Logs, archives and folders of several files, listed and read over S3 by two processes."""
    fleet = lay_out(tmp_path / "fleet")
    write(fleet / "empty.log", b"")
    here, there = triaged(fleet), triaged(upload(fleet))
    assert [without_place(case) for case in there] == [without_place(case) for case in here]
    assert {case.path for case in there} >= {f"s3://{BUCKET}/fleet/site-1/leak", f"s3://{BUCKET}/fleet/empty.log"}


@pytest.mark.usefixtures("store")
def test_what_the_store_says_of_a_file_names_its_content(tmp_path: Path) -> None:
    """A second triage explains nothing again; an object that was written anew is another one."""
    fleet = lay_out(tmp_path / "fleet")
    place, kept = upload(fleet), tmp_path / "kept.sqlite"
    first = triaged(place, results=kept)
    assert triaged(place, results=kept) == first
    url = f"{place}/site-0/host-9/case.tar"
    (before,) = places.files(url)
    boto3.client("s3").put_object(Bucket=BUCKET, Key="fleet/site-0/host-9/case.tar", Body=b"")
    places._system(url)[0].invalidate_cache()
    (after,) = places.files(url)
    assert places.digest(after) != places.digest(before) != ""


@pytest.mark.usefixtures("store")
def test_tables_go_to_an_object_store(tmp_path: Path) -> None:
    """With the command: cases from a bucket, tables into it."""
    place = upload(lay_out(tmp_path / "fleet"))
    command = [str(OOMSCOPE), "triage", place, "--no-cache", "--parquet", f"s3://{BUCKET}/tables"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    boto3.client("s3").download_file(BUCKET, "tables/cases/part-00000.parquet", str(tmp_path / "cases.parquet"))
    rows = pyarrow.parquet.read_table(tmp_path / "cases.parquet").to_pylist()
    assert [row["case"] for row in rows] == [case.name for case in triaged(tmp_path / "fleet")]


@pytest.mark.usefixtures("store")
def test_a_place_that_is_not_there() -> None:
    """No bucket, no such kind of URL: a sentence each."""
    with pytest.raises(BadQuestion, match="no such file"):
        places.files(f"s3://{BUCKET}/nowhere")
    with pytest.raises(NotOffered, match="nonsense://x: Protocol not known"):
        places.files("nonsense://x")


def test_a_store_that_does_not_answer_fails_as_a_case(tmp_path: Path) -> None:
    """Errors of any kind of store become the case's reason."""
    nobody = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    nobody |= {"AWS_MAX_ATTEMPTS": "1", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    command = [str(OOMSCOPE), "triage", f"s3://{BUCKET}/fleet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=nobody)
    assert done.returncode == 3
    assert "could not connect to the endpoint" in " ".join(done.stdout.split())

"""Cases in other places than this machine's folders: object stores and whatever else fsspec reads."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import http.server
import io
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import fsspec
import gcp_storage_emulator.server
import pyarrow.parquet
import pytest
from moto.server import ThreadedMotoServer

from oomscope.errors import BadQuestion, NotOffered
from oomscope.model.triage import Case
from oomscope.triage import places
from tests.support.fleets import lay_out, triaged, write

OOMSCOPE = Path(sys.executable).parent / "oomscope"
BUCKET = "cases"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
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


@pytest.fixture(scope="module")
def gcs() -> Iterator[Any]:
    """A server of Google's storage on loopback, for this process and those it starts."""
    port = unused_port()
    server = gcp_storage_emulator.server.create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        yield server
    server.stop()


@pytest.fixture(params=["s3", "gs"])
def bucket(request: pytest.FixtureRequest) -> str:
    """The URL of an empty bucket."""
    if request.param == "s3":
        server = request.getfixturevalue("s3")
        urllib.request.urlopen(urllib.request.Request(f"{server}/moto-api/reset", method="POST")).close()
        boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-north-1"})
    else:
        request.getfixturevalue("gcs").wipe(keep_buckets=True)
    url = f"{request.param}://{BUCKET}"
    fsspec.url_to_fs(url)[0].invalidate_cache()
    return url


def unused_port() -> int:
    with contextlib.closing(socket.socket()) as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


def upload(fleet: Path, bucket: str) -> str:
    """The files of a folder into the bucket; their URL there."""
    system, root = fsspec.url_to_fs(bucket)
    for path in fleet.rglob("*"):
        if path.is_file():
            system.put_file(str(path), f"{root}/fleet/{path.relative_to(fleet)}")
    system.invalidate_cache()
    return f"{bucket}/fleet"


def without_place(case: Case) -> Case:
    return dataclasses.replace(case, path="", link="", seen="", seen_by="")


def test_an_object_store_gives_the_same_cases(bucket: str, tmp_path: Path) -> None:
    """Logs, archives and folders of several files, listed and read over the network by two processes."""
    fleet = lay_out(tmp_path / "fleet")
    write(fleet / "empty.log", b"")
    here, there = triaged(fleet), triaged(upload(fleet, bucket))
    assert [without_place(case) for case in there] == [without_place(case) for case in here]
    assert {case.path for case in there} >= {f"{bucket}/fleet/site-1/leak", f"{bucket}/fleet/empty.log"}


def test_what_the_store_says_of_a_file_names_its_content(bucket: str, tmp_path: Path) -> None:
    """A second triage explains nothing again; an object that was written anew is another one."""
    fleet = lay_out(tmp_path / "fleet")
    place, kept = upload(fleet, bucket), tmp_path / "kept.sqlite"
    first = triaged(place, results=kept)
    assert triaged(place, results=kept) == first
    url = f"{place}/site-0/host-9/case.tar"
    (before,) = places.files(url)
    system, path = fsspec.url_to_fs(url)
    system.pipe_file(path, b"another")
    system.invalidate_cache()
    (after,) = places.files(url)
    names = [places.beginning(file, 16, 16, whole=True)[1] for file in (before, after)]
    assert names[0] != names[1]
    assert "" not in names


def test_tables_go_to_an_object_store(bucket: str, tmp_path: Path) -> None:
    """With the command: cases from a bucket, tables into it."""
    place = upload(lay_out(tmp_path / "fleet"), bucket)
    command = [str(OOMSCOPE), "triage", place, "--no-cache", "--parquet", f"{bucket}/tables"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    system, root = fsspec.url_to_fs(bucket)
    system.invalidate_cache()
    system.get_file(f"{root}/tables/cases/part-00000.parquet", str(tmp_path / "cases.parquet"))
    rows = pyarrow.parquet.read_table(tmp_path / "cases.parquet").to_pylist()
    assert [row["case"] for row in rows] == [case.name for case in triaged(tmp_path / "fleet")]


def test_a_place_that_is_not_there(bucket: str) -> None:
    """No bucket, no such kind of URL: a sentence each."""
    with pytest.raises(BadQuestion, match="no such file"):
        places.files(f"{bucket}/nowhere")
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


class WebServer(http.server.SimpleHTTPRequestHandler):
    """Folders as web servers show them: a page that links to itself, sorted, and to the folder above."""

    def send_head(self) -> Any:
        """The head of an answer, and its body."""
        if self.path.startswith("/forbidden"):
            return self.send_error(403)
        return super().send_head()

    def list_directory(self, path: Any) -> Any:
        """The page of a folder."""
        names = [entry.name + "/" * entry.is_dir() for entry in Path(path).iterdir()]
        page = "".join(f'<a href="{name}">{name}</a>\n' for name in ("?C=M;O=A", "../", *names)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        return io.BytesIO(page)

    def log_message(self, *told: Any) -> None:
        """Nothing."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The URL of a folder that a web server on loopback shows."""
    (tmp_path / "www").mkdir()
    handler = functools.partial(WebServer, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_web_servers_folder_gives_the_same_cases(web: str, tmp_path: Path) -> None:
    """A URL that ends with a slash is a folder, listed by the links of its page."""
    fleet = lay_out(tmp_path / "fleet")
    fleet.rename(tmp_path / "www" / "fleet")
    there = triaged(f"{web}/fleet/")
    (tmp_path / "www" / "fleet").rename(fleet)
    assert [without_place(case) for case in there] == [without_place(case) for case in triaged(fleet)]


def test_a_web_server_that_refuses_fails_as_a_case(web: str) -> None:
    """Refused, not there, and no server at all: each is told as what it is."""
    (refused,) = places.files(f"{web}/forbidden/console.log")
    assert "403" in refused.problem
    with pytest.raises(BadQuestion, match="no such file"):
        places.files(f"{web}/nowhere.log")
    (silent,) = places.files(f"http://127.0.0.1:{unused_port()}/console.log")
    assert "cannot connect" in silent.problem

"""The walk-through of docs/rest-api.md, command for command as it stands on the page."""

import json
import os
import re
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from servers import ROOT, wait_for

PAGE = ROOT / "docs/rest-api.md"
SERVER = "http://127.0.0.1:8080"


def blocks() -> list[str]:
    """The shell blocks between the headings of the walk-through and of what follows, in order."""
    text = PAGE.read_text()
    part = text.split("\n## A walk through\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^```sh\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)


class Reader:
    """Somebody who pastes one block after the other into a shell, in a folder with the examples and a configuration."""

    def __init__(self, folder, binaries):
        self.folder = folder
        self.environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"}

    def paste(self, block: str) -> str:
        """What the block printed; fails where a command of it does. Output goes through a file: a server that goes on
        running keeps it open."""
        out = self.folder / "out"
        with open(out, "wb") as output:
            shell = ["bash", "-e", "-o", "pipefail", "-c", block]
            done = subprocess.run(
                shell, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                timeout=300,
            )
        text = out.read_text(errors="replace")
        log = self.folder / "server.log"
        assert done.returncode == 0, f"{block}\n{text}\n{log.read_text()[-8000:] if log.exists() else ''}"
        return text


def answers(text: str) -> list[dict]:
    """The JSON objects in what a block printed."""
    found, decoder, at = [], json.JSONDecoder(), text.find("{")
    while at >= 0:
        try:
            answer, end = decoder.raw_decode(text, at)
            found.append(answer)
        except ValueError:
            end = at + 1
        at = text.find("{", end)
    return found


@pytest.fixture
def reader(program, s3, bucket, tmp_path):
    endpoint = urlsplit(s3.endpoint)
    store = {
        "provider": "minio",
        "address": endpoint.hostname,
        "port": endpoint.port,
        "bucketName": bucket,
        "auth": {"type": "static", "accessKeyID": s3.key, "secretAccessKey": s3.secret},
    }
    root = "backup/of-walk-through"
    uri = urlsplit(os.environ["MILVUS_TEST_URI"])
    configuration = {
        "configVersion": "v2",
        "milvus": {"grpc": {"address": uri.hostname, "port": uri.port}, "storage": {**store, "rootPath": program.root}},
        "backup": {"storage": {**store, "rootPath": root}},
    }
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/backup.yaml").write_text(json.dumps(configuration))  # JSON is YAML
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "milvus-backup").symlink_to(program.binary)
    (binaries / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (binaries / "python3").chmod(0o755)
    s3.delete_prefix(bucket, f"{root}/")
    reader = Reader(tmp_path, binaries)
    yield reader
    end(reader)
    reader.paste("python3 examples/clean_data.py")
    s3.delete_prefix(bucket, f"{root}/")


def end(reader: Reader) -> None:
    """Ends the server if the page did not."""
    pid = reader.folder / "server.pid"
    if pid.exists() and running(pid.read_text().strip()):
        os.kill(int(pid.read_text()), 9)


def running(pid: str) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as command:
            return b"server" in command.read().split(b"\0")
    except OSError:
        return False


def test_the_commands_of_the_page_do_what_it_says(reader, s3, bucket):
    start, prepare, create, look, beside, lose, back, clean = blocks()

    text = reader.paste(start)
    assert "Hello, This is backup service" in text and "Success!" in text
    text = reader.paste(prepare)
    assert "demo_books: 3000 rows" in text and "demo_authors: 500 rows" in text

    [begun] = answers(reader.paste(create))
    assert begun == {"requestId": "demo-1", "msg": "create backup is executing asynchronously", "data": None}
    made, listed = answers(reader.paste(look))
    assert made["msg"] == "success" and made["data"]["state_code"] == 2 and made["data"]["progress"] == 100
    assert {c["collection_name"] for c in made["data"]["collection_backups"]} == {"demo_books", "demo_authors"}
    assert [(backup["id"], backup["name"]) for backup in listed["data"]] == [("demo-1", "demo")]

    text = reader.paste(beside)
    [restored] = answers(text)
    assert restored["msg"] == "success" and restored["data"]["state_code"] == 2 and restored["data"]["id"]
    targets = {task["target_collection_name"] for task in restored["data"]["collection_restore_tasks"]}
    assert targets == {"demo_books_recover", "demo_authors_recover"}
    assert "demo_books_recover: 3000 rows, all as they were" in text
    assert "demo_authors_recover: 500 rows, all as they were" in text

    text = reader.paste(lose)
    assert text.count(": dropped") == 4
    [begun] = answers(text)
    assert begun["msg"] == "restore backup is executing asynchronously" and begun["data"]["id"] == "demo-restore"
    text = reader.paste(back)
    [restored] = answers(text)
    assert restored["data"]["state_code"] == 2 and len(restored["data"]["collection_restore_tasks"]) == 2
    assert "demo_books: 3000 rows, all as they were" in text and "demo_authors: 500 rows, all as they were" in text

    text = reader.paste(clean)
    assert answers(text)[0]["msg"] == "success"
    pid = (reader.folder / "server.pid").read_text().strip()
    wait_for("the end of the server", lambda: not running(pid), 40)
    assert s3.keys(bucket, "backup/of-walk-through/demo/") == []


def test_every_command_of_the_walk_through_asks_the_server_it_started():
    text = "\n".join(blocks())
    assert set(re.findall(r"https?://[^/'\"\s]+", text)) == {SERVER}
    assert len(re.findall(r"\bcurl\b", text)) >= 9

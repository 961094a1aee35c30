"""The pages of the REST API in a real browser: they show every route, load nothing from elsewhere, and work."""

import json
import os
import subprocess
import urllib.request
from urllib.parse import urlsplit

import pytest
from browser import Browser
from servers import wait_for

PAGE = "/api/v1/docs/index.html"
SHOWN = "[...document.querySelectorAll('.opblock')].map(b => [b.querySelector('.opblock-summary-method').innerText, " \
        "b.querySelector('.opblock-summary-path').getAttribute('data-path')])"


@pytest.fixture
def server(program, s3, bucket, tmp_path):
    """A server with an empty place of backups: its address."""
    endpoint = urlsplit(s3.endpoint)
    settings = {
        "backup.storage.address": endpoint.hostname,
        "backup.storage.port": endpoint.port,
        "backup.storage.bucketName": bucket,
        "backup.storage.rootPath": "backup/of-swagger-page",
        "backup.storage.auth.accessKeyID": s3.key,
        "backup.storage.auth.secretAccessKey": s3.secret,
    }
    options = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    command = [program.binary, "--config", "", *options, "server", "-p", "0"]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(command, env={**os.environ}, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        said = (tmp_path / "log").read_text
        line = wait_for("the server", lambda: process.poll() is None and [x for x in said().splitlines() if "listening on " in x], 20)
        yield line[0].split("listening on ")[1].strip()
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def browser(tmp_path):
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.close()


def test_the_page_shows_every_route_and_trying_one_answers(server, browser):
    browser.open(f"{server}{PAGE}")
    browser.until("the routes", "document.querySelectorAll('.opblock').length > 5")
    with urllib.request.urlopen(f"{server}/api/v1/docs/doc.json", timeout=10) as answer:
        paths = json.load(answer)["paths"]
    described = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert {tuple(shown) for shown in browser.ask(SHOWN)} == described

    browser.press("#operations-Backup-list .opblock-summary-control")
    browser.press("#operations-Backup-list .try-out__btn")
    browser.press("#operations-Backup-list .execute")
    shown = browser.until("an answer", "document.querySelector('#operations-Backup-list .live-responses-table tr.response .response-col_status')?.innerText")
    assert shown.strip().startswith("200")
    body = browser.until("its body", "document.querySelector('#operations-Backup-list .live-responses-table .highlight-code code')?.innerText")
    assert json.loads(body) == {"data": []}

    elsewhere = [url for url in browser.requested if not url.startswith((server, "data:", "blob:"))]
    assert elsewhere == [] and f"{server}/api/v1/list" in browser.requested
    assert browser.complaints == []

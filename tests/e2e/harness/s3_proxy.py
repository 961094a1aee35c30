"""An S3 server with faults: a proxy before the real one that delays, holds, refuses or cuts chosen requests.

It hands on the Host header, which S3 signatures cover, so that clients sign for the proxy's address. A test gives
`Milvus` resources or locations the proxy's address as endpoint.
"""

import http.client
import re
import threading
import time
from dataclasses import dataclass, field
from typing import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection"}


@dataclass
class Rule:
    """For requests whose method and path match: let `after` of them pass, then act on `times` of the rest."""

    method: str = ".*"
    path: str = ".*"
    copies: bool | None = None  # True: only server-side copies, False: only others
    after: int = 0
    times: float = float("inf")
    delay: float = 0.0
    status: int = 0  # answer with this instead of asking the server
    cut: bool = False  # close the connection instead
    hold: threading.Event | None = None  # wait until it is set (at most two minutes)
    then: Callable[[], None] | None = None  # called before the request goes on
    met: threading.Event = field(default_factory=threading.Event)  # set once it has acted
    seen: int = 0
    acted: int = 0

    def matches(self, handler) -> bool:
        copy = "x-amz-copy-source" in {k.lower() for k in handler.headers}
        if self.copies is not None and self.copies != copy:
            return False
        return bool(re.fullmatch(self.method, handler.command) and re.search(self.path, handler.path))


@dataclass
class Seen:
    """One request, for counting."""

    method: str
    path: str
    copy: bool
    status: int


@dataclass
class S3Proxy:
    """`with S3Proxy(("10.99.0.2", 9000)) as proxy: proxy.rules.append(Rule(...))`; its address is `proxy.endpoint`."""

    server: tuple[str, int]
    host: str = "10.99.0.2"
    port: int = 0
    rules: list[Rule] = field(default_factory=list)
    requests: list[Seen] = field(default_factory=list)

    def __enter__(self) -> "S3Proxy":
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self):
                proxy.handle(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

        self.lock = threading.Lock()
        self.http = ThreadingHTTPServer((self.host, self.port), Handler)
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        for rule in self.rules:
            if rule.hold:
                rule.hold.set()
        self.http.shutdown()
        self.http.server_close()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def endpoint(self) -> str:
        return f"http://{self.address}"

    def count(self, method: str = ".*", path: str = ".*", copy: bool | None = None) -> int:
        """How many requests were answered so far."""
        with self.lock:
            return sum(
                bool(re.fullmatch(method, r.method) and re.search(path, r.path)) and copy in (None, r.copy) for r in self.requests
            )

    def rule_for(self, handler) -> Rule | None:
        with self.lock:
            for rule in self.rules:
                if rule.matches(handler):
                    rule.seen += 1
                    if rule.seen > rule.after and rule.acted < rule.times:
                        rule.acted += 1
                        rule.met.set()
                        return rule
        return None

    def handle(self, handler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length) if length else b""
        rule = self.rule_for(handler)
        status = 0
        if rule:
            if rule.then:
                rule.then()
            if rule.hold:
                rule.hold.wait(120)
            if rule.delay:
                time.sleep(rule.delay)  # the fault itself
            if rule.cut:
                handler.close_connection = True
                handler.connection.close()
                return
            status = rule.status
        if status:
            self.refuse(handler, status)
        else:
            status = self.forward(handler, body)
        copy = "x-amz-copy-source" in {k.lower() for k in handler.headers}
        with self.lock:
            self.requests.append(Seen(handler.command, handler.path, copy, status))

    def refuse(self, handler, status: int) -> None:
        code = {503: "SlowDown", 403: "AccessDenied", 500: "InternalError"}.get(status, "InternalError")
        body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>by the test</Message></Error>'.encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/xml")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    def forward(self, handler, body: bytes) -> int:
        upstream = http.client.HTTPConnection(*self.server, timeout=60)
        try:
            upstream.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
            for name, value in handler.headers.items():
                if name.lower() not in HOP:
                    upstream.putheader(name, value)
            upstream.endheaders(body or None)
            reply = upstream.getresponse()
            data = reply.read()
            handler.send_response(reply.status)
            for name, value in reply.getheaders():
                if name.lower() not in HOP and name.lower() not in ("content-length", "server", "date"):
                    handler.send_header(name, value)
            length = reply.getheader("Content-Length") if handler.command == "HEAD" else str(len(data))
            if length is not None:
                handler.send_header("Content-Length", length)
            handler.end_headers()
            handler.wfile.write(data)
            return reply.status
        except OSError:
            handler.close_connection = True
            return 0
        finally:
            upstream.close()

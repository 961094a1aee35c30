"""An HTTP proxy in front of the S3 server: it sees every request of the program under test and can act at any of them.

This is what makes a kill "in the middle" repeatable: not after some seconds, but before or after a certain request.
"""

import http.client
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Callable
from urllib.parse import parse_qs, unquote, urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "proxy-authorization"}


@dataclass
class Request:
    """One request, as far as tests care."""

    method: str
    bucket: str
    key: str
    query: dict[str, list[str]]
    copies: str | None
    body: bytes = field(repr=False)

    @property
    def kind(self) -> str:
        if self.method == "PUT":
            return "copy" if self.copies else "put"
        if self.method == "GET":
            return "get" if self.key else "list"
        if self.method == "POST" and "delete" in self.query:
            return "delete"
        return self.method.lower()


class Cut(Exception):
    """Raised by a hook: the connection is closed and the request never arrives."""


Hook = Callable[[Request], None]


class Proxy:
    """`before` is called before a request is passed on, `after` once it was carried out and before its answer is given."""

    def __init__(self, upstream: str):
        self.upstream = urlsplit(upstream).netloc
        self.lock = threading.Lock()
        self.asked, self.none_asked = 0, threading.Condition(self.lock)
        self.reset()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # one answer, one packet: with Nagle each small answer would wait 40 ms for an acknowledgement
            wbufsize = -1
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass

            def handle(self):
                try:
                    super().handle()
                except (ConnectionError, TimeoutError):
                    pass  # the program went away, as it does when it is killed

            def pass_on(self):
                proxy.pass_on(self)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def reset(self) -> None:
        """Forgets what was seen; what a killed program had under way is let through first."""
        with self.none_asked:
            self.none_asked.wait_for(lambda: self.asked == 0, 10)
        self.before: Hook = lambda request: None
        self.after: Hook = lambda request: None
        self.seen: list[Request] = []

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def count(self, kind: str) -> int:
        return sum(request.kind == kind for request in self.seen)

    def pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        copies = handler.headers.get("x-amz-copy-source")
        request = Request(handler.command, bucket, key, parse_qs(url.query, keep_blank_values=True), copies, body)
        try:
            self.before(request)
            status, headers, answer = self.carried_out(handler, request)
            self.after(request)
        except Cut:
            handler.close_connection = True
            return
        handler.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP | {"content-length"}:
                handler.send_header(name, value)
        length = dict((n.lower(), v) for n, v in headers).get("content-length")
        handler.send_header("content-length", length if handler.command == "HEAD" and length else str(len(answer)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(answer)

    def carried_out(self, handler: BaseHTTPRequestHandler, request: Request):
        with self.lock:
            self.asked += 1
        try:
            answer = self.ask(handler, request.body)
            with self.lock:
                self.seen.append(request)
            return answer
        finally:
            with self.none_asked:
                self.asked -= 1
                self.none_asked.notify_all()

    def ask(self, handler: BaseHTTPRequestHandler, body: bytes):
        # one connection per thread of the server, that is per connection of the client
        connection = getattr(handler, "upstream", None)
        if connection is None:
            connection = handler.upstream = http.client.HTTPConnection(self.upstream, timeout=60)
        connection.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
        for name, value in handler.headers.items():
            if name.lower() not in HOP_BY_HOP | {"expect"}:
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()


class Trigger:
    """A hook that acts once, at the n-th request (from 1) that `which` picks."""

    def __init__(self, which: Callable[[Request], bool], act: Callable[[Request], None], nth: int = 1):
        self.which, self.act, self.left, self.lock = which, act, nth, threading.Lock()
        self.fired = threading.Event()

    def __call__(self, request: Request) -> None:
        if not self.which(request):
            return
        with self.lock:
            self.left -= 1
            if self.left != 0:
                return
        self.fired.set()
        self.act(request)

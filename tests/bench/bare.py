"""The bare loop: the least that any program must do to have a copy of some objects, and nothing more.

All requests are signed before the clock starts and written as they are over connections that are open already; one thread
looks after all of them. So what is timed is the store, and hardly this program: no listing, no retry, no proof, no memory of
what was done. A backup cannot be faster than this, only as fast.
"""

import hashlib
import hmac
import selectors
import socket
import time
from datetime import datetime, timezone
from urllib.parse import quote, urlsplit

CONCURRENCIES = (1, 2, 4, 8, 16, 32, 64)
EMPTY = hashlib.sha256(b"").hexdigest()


class Refused(Exception):
    """The store did not do what it was asked."""


class Loop:
    """Sends signed requests to one S3 server over plain HTTP."""

    def __init__(self, endpoint: str, key: str, secret: str, region: str = "us-east-1"):
        url = urlsplit(endpoint)
        self.address = (url.hostname, url.port or 80)
        self.host = url.netloc
        self.key, self.secret, self.region = key, secret, region

    def copies(self, bucket: str, pairs: list[tuple[str, str]]) -> list[bytes]:
        """A server-side copy within a bucket for each pair of source and target, signed now: good for 15 minutes."""
        return [self.signed("PUT", f"/{bucket}/{to}", {"x-amz-copy-source": quote(f"/{bucket}/{source}")}) for source, to in pairs]

    def signed(self, method: str, path: str, headers: dict[str, str]) -> bytes:
        """A request without a body by Signature Version 4."""
        now = datetime.now(timezone.utc)
        day, moment = now.strftime("%Y%m%d"), now.strftime("%Y%m%dT%H%M%SZ")
        headers = dict(sorted({"host": self.host, "x-amz-content-sha256": EMPTY, "x-amz-date": moment, **headers}.items()))
        names, path = ";".join(headers), quote(path, safe="/-_.~")
        canonical = "\n".join([method, path, "", *(f"{n}:{v}" for n, v in headers.items()), "", names, EMPTY])
        scope = f"{day}/{self.region}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{self.secret}".encode()
        for part in (*scope.split("/"), text):
            key = hmac.digest(key, part.encode(), "sha256")
        headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={self.key}/{scope},SignedHeaders={names},Signature={key.hex()}"
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{method} {path} HTTP/1.1\r\n{lines}content-length: 0\r\n\r\n".encode()

    def run(self, requests: list[bytes], concurrency: int, seconds: float = 600) -> float:
        """Sends them all, so many at a time; the seconds from the first byte out to the last answer in."""
        waiting = iter(requests)
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            lines = [Line(self.address) for _ in range(min(concurrency, len(requests)))]
            try:
                for line in lines:
                    selector.register(line.socket, selectors.EVENT_READ, line)
                start = time.monotonic()
                busy = 0
                for line in lines:
                    line.send(next(waiting))
                    busy += 1
                while busy:
                    ready = selector.select(10)
                    if time.monotonic() > deadline:
                        raise Refused(f"{busy} copies had no answer after {seconds} s")
                    for event, _ in ready:
                        if not event.data.answered():
                            continue
                        if (request := next(waiting, None)) is None:
                            busy -= 1
                        else:
                            event.data.send(request)
                return time.monotonic() - start
            finally:
                for line in lines:
                    line.socket.close()

    def sweep(self, sign, take_away) -> dict[int, float]:
        """Seconds at each concurrency: `sign()` answers the requests of a try, `take_away()` removes what it made."""
        took = {}
        for concurrency in CONCURRENCIES:
            took[concurrency] = self.run(sign(), concurrency)
            take_away()
        return took


class Line:
    """A connection with one request under way."""

    def __init__(self, address: tuple[str, int]):
        self.socket = socket.create_connection(address, timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.have = b""

    def send(self, request: bytes) -> None:
        self.have = b""
        self.socket.sendall(request)

    def answered(self) -> bool:
        """Reads what is there; whether the answer is whole. A copy can fail in the body of a 200."""
        read = self.socket.recv(65536)
        if not read:
            raise Refused(f"the store closed a connection after {self.have[:300]!r}")
        self.have += read
        head, ended, body = self.have.partition(b"\r\n\r\n")
        if not ended:
            return False
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
        if b"content-length" in fields:
            if len(body) < int(fields[b"content-length"]):
                return False
        elif not body.endswith(b"0\r\n\r\n"):
            return False
        if head.split(b" ", 2)[1] != b"200" or b"<Error" in body or b"ETag" not in body:
            raise Refused(f"the store answered {self.have[:600]!r}")
        return True

"""The bare loop of streaming: each object read from one server and written to another through this process, and nothing more.

All requests are signed before the clock starts, and bodies are passed on as they come. Python passes on several hundred MB a
second of this: far above what both servers do on the cores that they share with it.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import urllib3
from bare import Refused

CHUNK = 1 << 20
EXPIRES = 3600  # seconds a signature is good for


class Stream:
    """Copies objects from a bucket to one of another server."""

    def __init__(self, source, bucket: str, target, to_bucket: str):
        self.source, self.bucket, self.target, self.to_bucket = source, bucket, target, to_bucket
        self.pool = urllib3.PoolManager(maxsize=64, retries=False, timeout=300)

    def run(self, objects: dict[str, int], prefix: str, concurrency: int) -> float:
        """Copies them, so many at a time: seconds."""
        signed = [(self.sign(key, prefix), size) for key, size in objects.items()]
        started = time.monotonic()
        with ThreadPoolExecutor(concurrency) as threads:
            for _ in threads.map(self.one, signed):
                pass
        return time.monotonic() - started

    def sign(self, key: str, prefix: str) -> tuple[str, str]:
        def url(s3, act: str, bucket: str, name: str) -> str:
            return s3.client.generate_presigned_url(act, {"Bucket": bucket, "Key": name}, EXPIRES)

        return url(self.source, "get_object", self.bucket, key), url(self.target, "put_object", self.to_bucket, f"{prefix}/{key}")

    def one(self, signed: tuple[tuple[str, str], int]) -> None:
        (get, put), size = signed
        read = self.pool.request("GET", get, preload_content=False)
        try:
            body = read.stream(CHUNK)
            written = self.pool.request("PUT", put, body=body, headers={"content-length": str(size)}, chunked=False)
        finally:
            read.release_conn()
        if read.status != 200 or written.status != 200:
            raise Refused(f"streaming: read answered {read.status}, write {written.status}: {written.data[:300]!r}")

"""How fast the engine is, and how near to what the store can do at all.

    make bench ARGS="engine [--quick] [--json FILE]"

In each round, and in an order that turns from round to round, the same collections of one real Milvus are backed up by our
engine, by the bare loop (a flush, then server-side copies of the same objects: bare.py), and by the Go tool where
MILVUS_BACKUP_BIN names one. Then both programs restore their last backup beside the original. Ratios are taken within a round,
so what the machine does meanwhile falls on all of them. A target that is missed is printed as such; only what does not work
makes this end with 1. How to read the table: CONTRIBUTING.md.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/engine"))

from bare import Loop, Refused  # noqa: E402
from contenders import STAGES, SUFFIX, Failed, Ours, Peer, Took  # noqa: E402
from datasets import GIB, DataSet, Server, sets  # noqa: E402
from figures import Figure, save, show  # noqa: E402
from grpc import RpcError  # noqa: E402
from program import PREFIX  # noqa: E402
from proxy import Proxy  # noqa: E402
from pymilvus import MilvusException, connections  # noqa: E402
from servers import HOST, S3, Environment, Milvus  # noqa: E402
from streaming import Stream  # noqa: E402

BARE = "backup/of-bare"
PAUSE = 0.5  # seconds between runs: what the one before made is deleted in the store's own time
SHORT = 3  # seconds: what takes less at all concurrencies together is tried three times
VACUUM = 6 * GIB  # of deleted bytes, after which SeaweedFS is told to give them back
# backup: at most so many times the bare loop, at least that part of its speed, so many times faster than the Go tool; restore: the same
TARGETS = {
    "small": {"faster": 4.0, "restore": 5.0},
    "many": {"bare": 1.2, "faster": 1.8, "restore": 5.0},
    "medium": {"speed": 0.9, "faster": 1.0, "restore": 1.5},
    "large": {"speed": 0.9, "faster": 1.0, "restore": 1.0},
}
MEMORY_MIB, BINARY_MB, REQUESTS, AGAIN_PERCENT = 64, 32, 1.02, 5
# between two stores: times the Go tool's speed, MiB, rounds (each leaves its bytes on the disk of the second server)
STREAMING, STREAMING_MIB, STREAMING_ROUNDS = 4.0, 100, 3


def say(text: str) -> None:
    print(f"bench {time.monotonic() - BEGAN:6.1f} s  {text}", flush=True)


class Bench:
    """The servers, the contenders, and what was measured."""

    def __init__(self, args: argparse.Namespace, scratch: Path):
        self.runs, self.restores = args.runs, args.restores
        self.s3 = S3(*(os.environ[f"S3_TEST_{name}"] for name in ("ENDPOINT", "ACCESS_KEY", "SECRET_KEY")))
        self.bucket, self.root = os.environ["MILVUS_TEST_BUCKET"], os.environ["MILVUS_TEST_ROOT_PATH"]
        self.ours = Ours(args.binary, scratch, self.s3, self.bucket, self.root, Milvus.port)
        self.peer = Peer(args.peer, self.ours, f"http://{HOST}:{Milvus.metrics_port}") if args.peer else None
        self.loop = Loop(self.s3.endpoint, self.s3.key, self.s3.secret)
        self.milvus = Milvus(Environment(Path(os.environ["ENV_DIR"])))
        self.server = Server(f"{HOST}:{Milvus.port}")
        connections.connect(uri=os.environ["MILVUS_TEST_URI"])
        self.figures: list[Figure] = []
        self.sweeps: dict[str, dict[int, float]] = {}
        self.mended = self.deleted = 0
        self.memory: dict[str, list[float]] = {}

    # ------------------------------------------------------------------------------------------------------- one data set
    def measure(self, data: DataSet) -> None:
        say(f"{data.name}: {data.what}")
        self.server.fill(data)
        objects = self.sources(data)
        size = sum(objects.values())
        largest = max(objects.values())
        say(f"{data.name}: filled, {len(objects)} objects of {size / 1e6:.1f} MB in all, the largest {largest / 1e6:.1f} MB")
        concurrency = self.concurrency(data, objects)
        self.backups(data, objects, concurrency)
        if data.name == "many":
            self.requests(data)
        if data.name == "large":
            self.streamed(data, objects)
        self.resumed(data, objects)
        self.restored(data)
        for prefix in (PREFIX, Peer.prefix):
            self.remove(f"{prefix}/")
        ids = self.server.ids(data)
        self.server.drop(data)
        self.remove_logs(ids)

    def sources(self, data: DataSet) -> dict[str, int]:
        """Sizes of Milvus' own objects that a backup has to copy, by key."""
        kinds = ("insert_log", "delta_log")
        prefixes = [f"{self.root}/{kind}/{number}/" for number in self.server.ids(data) for kind in kinds]
        return {key: size for prefix in prefixes for key, (size, _) in self.s3.objects(self.bucket, prefix).items()}

    def concurrency(self, data: DataSet, objects: dict[str, int]) -> int:
        """Where the bare loop is fastest, tried on at most 512 MiB of the objects, the largest and smallest mixed as they come."""
        sample, size = [], 0
        for key in objects:
            if size < GIB // 2:
                sample.append(key)
                size += objects[key]
        tries = []
        while not tries or (len(tries) < 3 and sum(tries[0].values()) < SHORT):
            tries.append(self.loop.sweep(lambda: self.copies(sample), lambda: self.remove(f"{BARE}/")))
        took = {n: min(one[n] for one in tries) for n in tries[0]}
        self.sweeps[data.name] = took
        best = min(took, key=took.get)
        tried = ", ".join(f"{n}: {seconds:.2f}" for n, seconds in took.items())
        say(f"{data.name}: bare loop over {len(sample)} objects, seconds by concurrency: {tried}; {best} is taken")
        return best

    def copies(self, keys) -> list[bytes]:
        return self.loop.copies(self.bucket, [(key, f"{BARE}/{key}") for key in keys])

    def backups(self, data: DataSet, objects: dict[str, int], concurrency: int) -> None:
        flushes, bare, ours, peers = [], [], [], []

        def by_bare_loop(_: str) -> None:
            flush = self.server.flush(data)
            copied = self.loop.run(self.copies(objects), concurrency)
            self.remove(f"{BARE}/")
            flushes.append(flush)
            bare.append(copied)

        def by_ours(artifact: str) -> None:
            took = self.ours.backup(data.database, artifact)
            self.whole(data, objects, took)
            ours.append(took)

        def by_peer(artifact: str) -> None:
            peers.append(self.peer.backup(data.database, artifact))

        contenders = [by_bare_loop, by_ours] + [by_peer] * bool(self.peer)
        for number in range(self.runs):
            turn, self.kept = number % len(contenders), f"{data.name}_{number}"
            for prefix in (PREFIX, Peer.prefix):  # of the round before
                self.remove(f"{prefix}/{data.name}_")
            for contender in contenders[turn:] + contenders[:turn]:
                self.again_if_it_falls_over(contender, self.kept)
        self.remember("backup", ours)
        floor = [a + b for a, b in zip(flushes, bare)]
        self.figures.append(Figure(f"{data.name}: bare loop, flush", "s", flushes))
        self.figures.append(Figure(f"{data.name}: bare loop, {len(objects)} copies", "s", bare))
        figure = self.figure(f"{data.name}: backup", ours, peers, floor)
        targets = TARGETS[data.name]
        if "bare" in targets:
            figure.at_most_of_bare(targets["bare"])
        if "speed" in targets:
            figure.speed_of_bare(targets["speed"])
        figure.faster_than_peer(targets["faster"])
        self.figures.append(Figure(f"{data.name}: of that, copying", "s", [t.stages.get("CopyingData", 0.0) for t in ours], bare))
        medians = {stage: statistics.median(took.stages.get(stage, 0.0) for took in ours) for stage in STAGES}
        say(f"{data.name}: our stages, medians: " + ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in medians.items()))

    def whole(self, data: DataSet, objects: dict[str, int], took: Took) -> None:
        """Fails unless our backup has exactly the objects of the bare loop: else the two were not asked for the same."""
        summary = took.report["summary"]
        have, want = (summary["objects"], summary["sizeBytes"]), (len(objects), sum(objects.values()))
        if have != want or summary["rows"] != data.all_rows:
            raise Failed(f"{data.name}: the backup has {have} objects and bytes with {summary['rows']} rows, the bare loop copies {want}")

    def figure(self, name: str, ours: list[Took], peers: list[Took], bare: list[float]) -> Figure:
        """Of our engine, followed by the Go tool's."""
        made = Figure(name, "s", [t.seconds for t in ours], bare, [t.seconds for t in peers])
        self.figures.append(made)
        if peers:
            self.figures.append(Figure(f"{name}, Go tool", "s", [t.seconds for t in peers], bare))
            self.remember(f"Go tool, {name.split()[-1]}", peers)
        return made

    def requests(self, data: DataSet) -> None:
        """What one backup asks of the store, counted by a proxy before it."""
        proxy = Proxy(self.s3.endpoint)
        try:
            took = self.ours.backup(data.database, f"{data.name}_counted", endpoint=proxy.url)
            objects = took.report["summary"]["objects"]
            self.figures.append(Figure(f"{data.name}: requests per object copied", "", [len(proxy.seen) / objects]).at_most(REQUESTS))
            self.figures.append(Figure(f"{data.name}: HEAD requests", "", [proxy.count("head")]).at_most(0))
            kinds = Counter(request.kind for request in proxy.seen)
            say(f"{data.name}: requests for {objects} objects: " + ", ".join(f"{n} {kind}" for kind, n in kinds.most_common()))
        finally:
            proxy.close()

    def streamed(self, data: DataSet, objects: dict[str, int]) -> None:
        """Into a second S3 server, for which no copy within one server helps: by the bare loop, and by our engine."""
        self.milvus.environment.call("extra", "s3")
        other = S3(*(os.environ[f"EXTRA_S3_{name}"] for name in ("ENDPOINT", "ACCESS_KEY", "SECRET_KEY")))
        bucket, megabytes = os.environ["EXTRA_S3_BUCKET"], sum(objects.values()) / 1e6
        stream, elsewhere = Stream(self.s3, self.bucket, other, bucket), self.ours.store(bucket=bucket, s3=other)
        peer = self.peer and self.peer.into(other, bucket)
        bare, ours, peers = [], [], []
        for number in range(min(self.runs, STREAMING_ROUNDS)):
            bare.append(min(stream.run(objects, BARE, concurrency) for concurrency in (2, 4)))
            took = self.ours.backup(data.database, f"{data.name}_elsewhere_{number}", destination=elsewhere)
            self.whole(data, objects, took)
            ours.append(took)
            if peer:
                peers.append(peer.backup(data.database, f"{data.name}_elsewhere_{number}"))
            for key in other.keys(bucket):
                other.delete(bucket, key)
        copying = [took.stages.get("CopyingData", 0.0) for took in ours]
        self.figure(f"{data.name}: backup to another server", ours, peers, []).faster_than_peer(STREAMING)
        self.figures.append(Figure(f"{data.name}: of that, streaming", "s", copying, bare))
        self.figures.append(Figure(f"{data.name}: streaming", "MB/s", [megabytes / seconds for seconds in copying]))
        self.figures.append(Figure(f"{data.name}: bare loop, streaming", "MB/s", [megabytes / seconds for seconds in bare]))
        self.figures.append(Figure("memory: streaming", "MiB", [took.mib for took in ours]).below(STREAMING_MIB))

    def resumed(self, data: DataSet, objects: dict[str, int]) -> None:
        """Killed with SIGKILL once half of the bytes are there, then started again: what the store was asked for twice."""
        size, proxy, copied = sum(objects.values()), Proxy(self.s3.endpoint), Counter()
        work = {"artifact": f"{data.name}_resumed", "uid": str(uuid.uuid4()), "endpoint": proxy.url}
        # what is under way at the end the store completes: few enough that this is half, and not all
        few = {"concurrency": max(1, min(32, len(objects) // 16))}

        def count(request) -> None:
            if request.kind == "copy":
                with proxy.lock:
                    copied[unquote(request.copies).lstrip("/").partition("/")[2]] += 1
                    done = sum(objects[key] for key in copied)
                if done >= size / 2:
                    run.kill()  # of the first attempt; nothing once that has ended

        try:
            proxy.after = count
            run = self.ours.begin("backup", selection={"include": [{"database": data.database}]}, limits=few, **work)
            if run.wait().code >= 0:
                raise Failed(f"{data.name}: the run ended before half of its bytes were copied")
            proxy.reset()  # waits for what is under way
            self.mend()
            there = sum(objects[key] for key in copied)
            proxy.after = count
            took = self.ours.backup(data.database, attempt=2, **work)
            self.whole(data, objects, took)
        finally:
            proxy.close()
            self.remove(f"{PREFIX}/{data.name}_resumed/")
        again = sum((times - 1) * objects[key] for key, times in copied.items())
        say(f"{data.name}: killed with {100 * there / size:.0f} % of the bytes there, the second attempt took {took.seconds:.2f} s")
        self.figures.append(Figure(f"{data.name}: killed at half, bytes copied again", "%", [100 * again / size]).below(AGAIN_PERCENT))

    def restored(self, data: DataSet) -> None:
        ours, peers = [], []

        def by_ours(_: str) -> None:
            ours.append(self.restore(data, self.ours))

        def by_peer(_: str) -> None:
            peers.append(self.restore(data, self.peer))

        contenders = [by_ours] + [by_peer] * bool(self.peer)
        for number in range(self.restores):
            turn = number % len(contenders)
            for contender in contenders[turn:] + contenders[:turn]:
                self.again_if_it_falls_over(contender, "")
        self.remember("restore", ours)
        self.figure(f"{data.name}: restore", ours, peers, []).faster_than_peer(TARGETS[data.name]["restore"])

    def restore(self, data: DataSet, contender) -> Took:
        """Of the last backup, beside the original; the copies are dropped again."""
        self.server.drop_copies(data, SUFFIX)
        took = contender.restore(self.kept)
        rows = self.server.rows(data, SUFFIX)
        if rows != data.all_rows:
            raise Failed(f"{data.name}: {rows} rows in place of {data.all_rows} after a restore by {contender.name}")
        ids = self.server.ids(data, SUFFIX)
        self.server.drop_copies(data, SUFFIX)
        self.remove_logs(ids)
        return took

    # ------------------------------------------------------------------------------------------------------------- helpers
    def again_if_it_falls_over(self, run, argument: str) -> None:
        """A Milvus 2.3.5 falls over by itself now and then; a run that this spoilt is repeated once, and it is said."""
        time.sleep(PAUSE)
        try:
            run(argument)
        except (Failed, Refused, RuntimeError, RpcError, MilvusException):
            if not self.mend():
                raise
            say("this run is repeated")
            for prefix in (PREFIX, Peer.prefix):
                if argument:
                    self.remove(f"{prefix}/{argument}/")
            run(argument)

    def mend(self) -> bool:
        """Whether Milvus had to be started again."""
        if not self.milvus.mend():
            return False
        self.mended += 1
        say("Milvus had ended and was started again")
        return True

    def remember(self, what: str, runs: list[Took]) -> None:
        self.memory.setdefault(what, []).extend(took.mib for took in runs)

    def remove(self, prefix: str) -> None:
        """All objects below it, a thousand at a time."""
        found = self.s3.objects(self.bucket, prefix)
        keys = [{"Key": key} for key in found]
        for start in range(0, len(keys), 1000):
            answer = self.s3.client.delete_objects(Bucket=self.bucket, Delete={"Objects": keys[start : start + 1000], "Quiet": True})
            if answer.get("Errors"):
                raise Refused(f"deleting: {answer['Errors'][:3]}")
        self.deleted += sum(size for size, _ in found.values())
        if self.deleted > VACUUM and os.environ.get("S3_TEST_KIND") == "seaweed":
            self.vacuum()

    def remove_logs(self, ids: list[int]) -> None:
        """The files of dropped collections, which Milvus itself keeps for three hours."""
        for number in ids:
            for kind in ("insert_log", "stats_log", "delta_log"):
                self.remove(f"{self.root}/{kind}/{number}/")

    def vacuum(self) -> None:
        """SeaweedFS keeps the bytes of deleted objects until its master, one port above, has its volumes rewritten."""
        host, _, port = self.s3.endpoint.rpartition(":")
        try:
            with urllib.request.urlopen(f"{host}:{int(port) + 1}/vol/vacuum?garbageThreshold=0.1", timeout=300) as answer:
                answer.read()
            self.deleted = 0
        except (urllib.error.URLError, TimeoutError) as error:
            say(f"the store could not be made to give back deleted bytes: {error}")

    def of_the_program(self, binary: Path) -> None:
        for what, peaks in self.memory.items():
            figure = Figure(f"memory: {what}", "MiB", peaks)
            self.figures.append(figure if what.startswith("Go") else figure.below(MEMORY_MIB))
        self.figures.append(Figure("size of the binary, as timed", "MB", [binary.stat().st_size / 1e6]))
        # what images hold is built for size, and seldom: `make image`
        shipped = binary.resolve().parent.parent / "dist" / binary.name
        if shipped.exists():
            self.figures.append(Figure("size of the binary, of images", "MB", [shipped.stat().st_size / 1e6]).below(BINARY_MB))


def arguments() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--binary", type=Path, default=os.environ.get("MILVUS_BACKUP_BIN_UNDER_TEST"), help="our release binary")
    p.add_argument("--peer", type=Path, default=os.environ.get("MILVUS_BACKUP_BIN"), help="the Go tool (MILVUS_BACKUP_BIN)")
    p.add_argument("--scale", type=float, default=None, help="of all data sets but the small one; 1 is that of the targets")
    p.add_argument("--runs", type=int, default=None, help="rounds of backups (5)")
    p.add_argument("--restores", type=int, default=None, help="rounds of restores (3)")
    p.add_argument("--only", action="append", choices=list(TARGETS), help="one data set; can be repeated")
    p.add_argument("--quick", action="store_true", help="scale 0.15, 3 rounds, 1 restore of each: under 3 minutes on an idle machine")
    p.add_argument("--json", type=Path, help="every value, for comparing")
    args = p.parse_args()
    for name, usual, quick in (("scale", 1.0, 0.15), ("runs", 5, 3), ("restores", 3, 1)):
        if getattr(args, name) is None:
            setattr(args, name, quick if args.quick else usual)
    if not args.binary or min(args.scale, args.runs, args.restores) <= 0:
        p.error("--binary is needed, and scale, runs and restores above 0")
    args.binary = args.binary.resolve()
    args.peer = args.peer and args.peer.resolve()
    return args


def main() -> None:
    args = arguments()
    directory = Path(os.environ["ENV_DIR"])
    free, needed = shutil.disk_usage(directory).free / GIB, 4 + 26 * args.scale
    if free < needed:
        sys.exit(f"bench: {free:.0f} GiB are free on the disk of {directory}, some {needed:.0f} are needed: take a smaller --scale")
    if not args.peer:
        say("without the Go tool: MILVUS_BACKUP_BIN names none; what is held against it is not judged")
    scratch = Path(tempfile.mkdtemp(prefix="bench-", dir=directory))
    bench = Bench(args, scratch)
    try:
        for data in sets(args.scale):
            if not args.only or data.name in args.only:
                bench.measure(data)
    finally:
        shutil.rmtree(scratch)
    bench.of_the_program(args.binary)
    cores = len(os.sched_getaffinity(0))
    rounds = f"{args.runs} rounds of backups, {args.restores} of restores"
    print(f"\nscale {args.scale:g}, {rounds}, {cores} cores shared with Milvus and the store")
    if args.scale != 1:
        print("targets are set for scale 1: at another one, what is met and what is not is a hint")
    if bench.mended:
        print(f"Milvus had to be started again {bench.mended} times")
    print("x bare: times the bare loop, flush and copies together; x Go: times faster than the Go tool\n")
    print(show(bench.figures))
    if args.json:
        about = {"version": 1, "scale": args.scale, "rounds": args.runs, "restores": args.restores, "cores": cores}
        save(bench.figures, args.json, **about, bareLoopSeconds=bench.sweeps)


BEGAN = time.monotonic()

if __name__ == "__main__":
    main()

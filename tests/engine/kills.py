"""SIGKILL at a chosen request, before or after it is carried out; and the moments that the ledger of a restore marks.

A run is killed at one moment after another, each time in the attempt that follows: it stands where the one before it fell.
"""

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from program import Program
from proxy import Cut, Proxy, Request, Trigger
from pymilvus import connections, db
from pymilvus.grpc_gen import milvus_pb2

Which = Callable[[Request], bool]
IMPORT_STATES = ("Intended", "Started", "Done")  # in their order


@dataclass(frozen=True)
class Moment:
    """The n-th request (from 1) that `which` picks: killed `before` it reaches the store, or `after` that, without its answer."""

    when: str
    which: Which
    said: str
    nth: int = 1


def killed(program: Program, proxy: Proxy, kind: str, task: dict, moments: list[Moment]) -> Iterator[int]:
    """Kills an attempt at each of the moments and yields its number. The task goes through the proxy, which the caller resets
    at the end."""
    for attempt, moment in enumerate(moments, start=1):

        def stop(request: Request) -> None:
            run.kill()
            if moment.when == "before":
                raise Cut

        trigger = Trigger(moment.which, stop, moment.nth)
        proxy.before = trigger if moment.when == "before" else passed_by
        proxy.after = trigger if moment.when == "after" else passed_by
        run = program.start(kind, attempt=attempt, **task)
        outcome = run.wait()
        said = f"attempt {attempt}, {moment.when} {moment.said}"
        assert trigger.fired.is_set(), f"{said}: never came to it\n{outcome.message}\n{outcome.log}"
        assert outcome.code == -signal.SIGKILL, f"{said}: ended with {outcome.code}: {outcome.message}\n{outcome.log}"
        yield attempt


def passed_by(request: Request) -> None:
    """No hook."""


# ------------------------------------------------------------------------------------------------------ the ledger of a restore
def ledger(uid: str, state: str) -> Which:
    """Picks the write of the ledger in which any collection, or import, has come to `state`."""
    return written(uid, lambda steps, jobs: state in steps + jobs)


def imports(uid: str, state: str, number: int) -> Which:
    """Picks the write of the ledger in which so many imports, of all collections, have come to `state` or beyond it: how many are
    in one state at a time is the server's affair."""
    reached = IMPORT_STATES[IMPORT_STATES.index(state) :]
    return written(uid, lambda steps, jobs: sum(job in reached for job in jobs) >= number)


def written(uid: str, holds: Callable[[list[str], list[str]], bool]) -> Which:
    """Picks a write of the ledger by the steps of its collections and the states of its imports."""

    def which(request: Request) -> bool:
        if request.kind != "put" or not request.key.endswith(f"restores/{uid}/ledger.json"):
            return False
        entries = json.loads(request.body)["entries"]
        jobs = [one["job"] for entry in entries for one in entry["imports"]]
        # a state that carries something is an object with one key
        return holds([entry["step"] for entry in entries], [state for job in jobs for state in ([job] if isinstance(job, str) else job)])

    return which


def import_tasks(database: str, collection: str) -> int:
    """How many imports into the collection the server has been asked for."""
    db.using_database(database)
    stub = connections._fetch_handler("default")._stub
    request = milvus_pb2.ListImportTasksRequest(collection_name=collection, limit=100, db_name=database)
    return len(stub.ListImportTasks(request).tasks)

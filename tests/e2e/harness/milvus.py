"""The Milvus beside the cluster: data in, every row out, and its process."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from harness.kube import until
from pymilvus import BulkInsertState, Collection, connections, db, utility

ENV = Path(__file__).resolve().parents[2] / "env"
sys.path.insert(0, str(ENV / "data"))

import dataset  # noqa: E402
import populate  # noqa: E402
import rows  # noqa: E402
import snapshot  # noqa: E402


class Milvus:
    def __init__(self, uri: str):
        self.uri = uri
        self.connect()

    def connect(self) -> None:
        connections.connect(uri=self.uri)

    # -------------------------------------------------------------------------------------------------------- data
    def fill(self, prefix: str, scale: float = 0.02, only: tuple[str, ...] = ()) -> list[dataset.Spec]:
        """The data set under databases of its own (`<prefix>default`, ...), all of it or the collections named."""
        specs = [s for s in dataset.specs(scale, prefix) if not only or s.name in only]
        populate.populate(specs)
        return specs

    def rows(self, specs: list[dataset.Spec]) -> dict[str, dict]:
        """Every field of every row, and the shape, of these collections."""
        taken = snapshot.take([(s.database, s.name) for s in specs])
        return {".".join(pair): entry for pair, entry in taken.items()}

    def drop(self, specs: list[dataset.Spec]) -> None:
        for spec in specs:
            db.using_database(spec.database)
            populate.drop(spec)

    def drop_database(self, name: str) -> None:
        """With all that is in it; nothing when there is none."""
        if name in db.list_database():
            db.using_database(name)
            for collection in utility.list_collections():
                for alias in utility.list_aliases(collection):
                    utility.drop_alias(alias)
                utility.drop_collection(collection)
            db.using_database("default")
            db.drop_database(name)

    def collections(self, database: str) -> list[str]:
        db.using_database(database)
        return sorted(utility.list_collections())

    def wait_imports(self, seconds: float = 120) -> None:
        """Until no import task of any collection is under way."""
        ended = {BulkInsertState.ImportCompleted, BulkInsertState.ImportFailed, BulkInsertState.ImportFailedAndCleaned}

        def open_tasks():
            return [t.task_id for d in db.list_database() for t in self.imports(d) if t.state not in ended]

        until("no import is under way", seconds, lambda: not open_tasks())

    def imports(self, database: str) -> list:
        db.using_database(database)
        return utility.list_bulk_insert_tasks()

    def delete_all(self, database: str, collection: str) -> None:
        """All rows of a loaded collection whose key is a text."""
        db.using_database(database)
        found = Collection(collection)
        keys = [row[found.primary_field.name] for row in rows.read(found)]
        found.delete(f"{found.primary_field.name} in {json.dumps(keys)}")

    def count(self, database: str, collection: str) -> int:
        db.using_database(database)
        found = Collection(collection).query("", output_fields=["count(*)"], consistency_level="Strong")
        return found[0]["count(*)"]

    def differences(
        self, wanted: dict[str, dict], suffix: str = "", databases: dict[str, str] | None = None, ignore: tuple[str, ...] = ()
    ) -> list[str]:
        """What is not as it was in `wanted`, a line each; collections are looked for under a suffix, or in another
        database where `databases` names one. A suffixed copy has no alias: two collections cannot share one."""
        skip = set(ignore) | ({"aliases"} if suffix else set())
        wrong = []
        for full, want in wanted.items():
            source, name = full.split(".", 1)
            database = (databases or {}).get(source, source)
            if name + suffix not in self.collections(database):
                wrong.append(f"{database}.{name}{suffix}: missing")
                continue
            have = snapshot.take([(database, name + suffix)])[database, name + suffix]
            _, words = snapshot.differences(want, have, skip)
            wrong += [f"{database}.{name}{suffix}: {word}" for word in words]
        return wrong

    # ----------------------------------------------------------------------------------------------------- process
    def _env(self, *args: str) -> subprocess.CompletedProcess:
        return subprocess.run([ENV / "env", "milvus", *args], capture_output=True, text=True, timeout=240)

    def alive(self) -> bool:
        return self._env("pid").returncode == 0

    def kill(self) -> None:
        """SIGKILL; what it had acknowledged stays."""
        self._env("kill").check_returncode()

    def start(self) -> None:
        """Returns when it is healthy, connected anew."""
        done = self._env("start")
        assert done.returncode == 0, done.stderr
        connections.disconnect("default")
        self.connect()

    def restart(self) -> None:
        self.kill()
        self.start()


@dataclass
class Data:
    """A data set in Milvus and every row of it."""

    milvus: Milvus
    specs: list[dataset.Spec]
    wanted: dict[str, dict]

    @classmethod
    def make(cls, milvus: Milvus, prefix: str, scale: float = 0.02, only: tuple[str, ...] = ()) -> Data:
        specs = milvus.fill(prefix, scale, only)
        return cls(milvus, specs, milvus.rows(specs))

    @property
    def databases(self) -> list[str]:
        return sorted({spec.database for spec in self.specs})

    def named(self, collection: str) -> dataset.Spec:
        return next(spec for spec in self.specs if spec.name == collection)

    def rows_of(self, *collections: str) -> dict[str, dict]:
        return {full: rows for full, rows in self.wanted.items() if full.split(".")[1] in collections}

    def into(self, prefix: str) -> dict[str, str]:
        """New names of the databases, for a mapping: `<prefix>0`, `<prefix>1`, ..."""
        return {database: f"{prefix}{i}" for i, database in enumerate(self.databases)}

    def pattern(self, *collections: str) -> dict:
        """A selection of some collections."""
        by_database: dict[str, list[str]] = {}
        for name in collections:
            by_database.setdefault(self.named(name).database, []).append(name)
        return {"include": [{"database": d, "collections": c} for d, c in by_database.items()]}

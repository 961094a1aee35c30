"""The comparison of rows finds what it is there to find, on a real Milvus."""

import os

import dataset
import populate
import pytest
import snapshot
from pymilvus import Collection, connections, db, utility

DATABASE = "snapshots_default"


@pytest.fixture(scope="module")
def specs():
    connections.connect(uri=os.environ["MILVUS_TEST_URI"])
    wanted = [s for s in dataset.specs(0.02, "snapshots_") if s.name in ("all_types", "articles")]
    populate.populate(wanted)
    yield wanted
    populate.drop_all(wanted)


@pytest.fixture
def taken(specs):
    return snapshot.take([(s.database, s.name) for s in specs])


def again(name: str) -> dict:
    return snapshot.take([(DATABASE, name)])[DATABASE, name]


def test_what_was_put_in_is_what_is_read(specs, taken):
    for spec in specs:
        assert len(taken[spec.database, spec.name]["rows"]) == sum(1 for _ in spec.expected_rows())


def test_nothing_differs_from_itself(taken):
    assert snapshot.differences(taken[DATABASE, "all_types"], again("all_types"), set()) == (0, [])


def test_a_lost_row_is_named(specs, taken):
    db.using_database(DATABASE)
    Collection("all_types").delete('pk in ["k000005"]')
    count, words = snapshot.differences(taken[DATABASE, "all_types"], again("all_types"), set())
    assert (count, words) == (1, ["1 rows missing (first key k000005)"])


def test_one_changed_field_of_one_row_is_named(specs, taken):
    articles = next(s for s in specs if s.name == "articles")
    row = dict(next(row for i, row in articles.numbered_rows() if i == 10))
    row["views"] += 1  # a dynamic field
    db.using_database(DATABASE)
    Collection("articles").upsert([row])
    count, words = snapshot.differences(taken[DATABASE, "articles"], again("articles"), set())
    assert (count, words) == (1, ["field $meta differs (first key 10)"])


def test_another_load_state_and_a_missing_alias_are_named(taken):
    db.using_database(DATABASE)
    utility.drop_alias("snapshots_news")
    Collection("articles").release()
    _, words = snapshot.differences(taken[DATABASE, "articles"], again("articles"), set())
    assert any(w.startswith("aliases: []") for w in words)
    assert any(w.startswith("load: ") for w in words)

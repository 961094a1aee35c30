"""Makes the collections demo_books and demo_authors. What has these names already is dropped."""

from demo import NAMES, connect, drop, make

connect(__doc__)
for name in NAMES:
    drop(name)
    collection = make(name)
    print(f"{name}: {collection.num_entities} rows")

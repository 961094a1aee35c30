"""Drops the collections demo_books and demo_authors, and those that were restored beside them."""

from demo import NAMES, connect, drop

arguments = connect(__doc__, suffix={"default": "_recover", "help": "suffix of restored collections; default %(default)s"})
for name in NAMES:
    for target in (name, name + arguments.suffix):
        if drop(target):
            print(f"{target}: dropped")

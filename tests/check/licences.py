"""Every crate that is built into the operator has a licence that Apache-2.0 code may be shipped with.

A licence expression is read as SPDX: an OR needs one allowed side, an AND both. Reads `cargo metadata`.
"""
import json
import re
import subprocess
import sys

ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",  # certificate data
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
}


def allowed(expression: str) -> bool:
    """An SPDX expression, and the older form with a slash for OR."""
    tokens = re.findall(r"\(|\)|[\w.+-]+", expression.replace("/", " OR "))
    at = 0

    def peek() -> str:
        return tokens[at] if at < len(tokens) else ""

    def take() -> str:
        nonlocal at
        at += 1
        return tokens[at - 1]

    def either() -> bool:
        result = both()
        while peek() == "OR":
            take()
            right = both()
            result = result or right
        return result

    def both() -> bool:
        result = one()
        while peek() == "AND":
            take()
            right = one()
            result = result and right
        return result

    def one() -> bool:
        if take() == "(":
            result = either()
            take()
            return result
        name = tokens[at - 1]
        if peek() == "WITH":
            take()
            name += " WITH " + take()
        return name in ALLOWED

    return either()


def main() -> None:
    metadata = json.loads(subprocess.check_output(["cargo", "metadata", "--format-version", "1", "--locked"]))
    ours = set(metadata["workspace_members"])
    wrong = [
        f"{p['name']} {p['version']}: {p['license'] or 'no licence named'}"
        for p in metadata["packages"]
        if p["id"] not in ours and not (p["license"] and allowed(p["license"]))
    ]
    for line in wrong:
        print(f"licence not on the list of tests/check/licences.py: {line}")
    if wrong:
        sys.exit(1)
    print(f"licences of {len(metadata['packages']) - len(ours)} crates are on the list")


if __name__ == "__main__":
    main()

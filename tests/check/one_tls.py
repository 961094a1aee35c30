"""One TLS provider: aws-lc-rs, and nothing that brings another (or needs one from the machine) on Linux."""
import subprocess
import sys

UNWANTED = {"ring", "openssl", "openssl-sys", "native-tls"}

tree = subprocess.check_output(["cargo", "tree", "--locked", "--edges", "normal,build", "--prefix", "none"], text=True)
names = {line.split()[0] for line in tree.splitlines() if line.strip()}
found = sorted(names & UNWANTED)
if found or "aws-lc-rs" not in names:
    sys.exit(f"TLS: {', '.join(found) or 'aws-lc-rs is missing'}; `cargo tree -i NAME` says what brings it in")
print("TLS: aws-lc-rs alone")

"""Makes the samples of the Argo CD health checks from states that the end-to-end tests saw: `real_samples.py [STATES]`.

STATES is the folder target/e2e/states of a complete run. States that no real server can be brought into keep their files.
What the checks say of the new samples goes into health_test.yaml: read the difference before committing it.
"""

import sys
from pathlib import Path

import yaml
from argocd import GROUP, health

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = {
    "MilvusBackup": {
        "new": "New",
        "changed": "Changed",
        "queued": "Queued.Unknown",
        "retrying": "Retrying.Unknown",
        "running": "CopyingData.Unknown",
        "completed": "Completed.True",
        "failed": "AccessDenied.False",
        "partially-failed": "PartiallyFailed.False",
        "cancelled": "Cancelled.False",
        "rejected": "Rejected.False",
        "start-deadline-exceeded": "StartDeadlineExceeded.False",
        "run-deadline-exceeded": "RunDeadlineExceeded.False",
        "stalled": "Stalled.False",
        "deleting": "Deleting",
    },
    "MilvusRestore": {
        "new": "New",
        "queued": "Queued.Unknown",
        "running": "CopyingData.Unknown",
        "completed": "Completed.True",
        "preflight-passed": "PreflightPassed.True",
        "failed": "Damaged.False",
        "conflict-found": "ConflictFound.False",
        "target-uid-mismatch": "TargetUIDMismatch.False",
        "cancelled": "Cancelled.False",
        "rejected": "Rejected.False",
        "deleting": "Deleting",
    },
    "MilvusBackupLocation": {
        "new": "New",
        "probing": "NotYet.False",
        "ready": "Probed.True",
        "access-denied": "AccessDenied.False",
        "deleting": "Deleting",
    },
}


def main() -> None:
    states = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/e2e/states")
    for kind, files in SAMPLES.items():
        test_file = GROUP / kind / "health_test.yaml"
        tests = yaml.safe_load(test_file.read_text())
        for name, state in files.items():
            seen = states / kind / f"{state}.yaml"
            if not seen.exists():
                print(f"{kind} {name}: no object was seen in state {state}, the old sample stays")
                continue
            (GROUP / kind / "testdata" / f"{name}.yaml").write_text(seen.read_text())
        for test in tests["tests"]:
            answer = health(kind, yaml.safe_load((GROUP / kind / test["inputPath"]).read_text()))
            test["healthStatus"] = {"status": answer.status, "message": answer.message}
        test_file.write_text(yaml.safe_dump(tests, sort_keys=False, allow_unicode=True, width=120))


if __name__ == "__main__":
    main()

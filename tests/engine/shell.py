"""A milvus-backup from a shell, ours or the Go tool: a folder of its own with `configs/backup.yaml`, and its command line.

Nothing here is ours alone, so a program of either kind can be in it.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from servers import HOST, S3

LIMIT = 900  # seconds for one command: the Go tool restores one segment after another, at about 2 s each


@dataclass(frozen=True)
class Place:
    """Where objects are: below a prefix of a bucket."""

    s3: S3
    bucket: str
    prefix: str

    @property
    def address(self) -> tuple[str, str]:
        """Host and port."""
        host, _, port = self.s3.endpoint.removeprefix("http://").partition(":")
        return host, port


def configuration(data: Place, backups: Place, port: int, management: str, streams: bool = False) -> str:
    """A `backup.yaml` of schema 1, which 0.5 and 0.6 of the Go tool both read: Milvus' data and port, where backups go.

    The log is written to a file and not to standard output, so that what a command answers stands there alone.
    """
    (host, store_port), (to_host, to_port) = data.address, backups.address
    return f"""
log: {{level: info, console: false, file: {{filename: logs/backup.log}}}}
milvus: {{address: "{HOST}", port: {port}}}
minio:
  storageType: minio
  address: "{host}"
  port: {store_port}
  accessKeyID: "{data.s3.key}"
  secretAccessKey: "{data.s3.secret}"
  useSSL: false
  bucketName: "{data.bucket}"
  rootPath: "{data.prefix}"
  backupStorageType: minio
  backupAddress: "{to_host}"
  backupPort: {to_port}
  backupAccessKeyID: "{backups.s3.key}"
  backupSecretAccessKey: "{backups.s3.secret}"
  backupUseSSL: false
  backupBucketName: "{backups.bucket}"
  backupRootPath: "{backups.prefix}"
  crossStorage: {str(streams).lower()}
backup: {{gcPause: {{enable: true, address: "{management}"}}}}
"""


def plain() -> dict[str, str]:
    """The environment without what either program would take for a setting."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MILVUS", "MINIO_", "BACKUP_"))}


class Shell:
    """Runs the commands of one program as a person does, in its folder."""

    def __init__(self, binary: Path, folder: Path, settings: str):
        self.binary, self.folder = binary, folder
        (folder / "configs").mkdir(parents=True)
        (folder / "configs" / "backup.yaml").write_text(settings)

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess:
        """However it ends."""
        command, said = [self.binary, *arguments], {"capture_output": True, "text": True, "errors": "replace"}
        return subprocess.run(command, cwd=self.folder, env=plain(), stdin=subprocess.DEVNULL, timeout=LIMIT, **said)

    def run(self, *arguments: str, code: int = 0) -> str:
        """What it said on standard output; fails, with everything it said, unless it ended with this code."""
        done = self.attempt(*arguments)
        self.errors = done.stderr
        said = f"{self.binary} {arguments}: {done.returncode} in place of {code}\n{done.stdout}\n{done.stderr[-8000:]}"
        assert done.returncode == code, said
        return done.stdout

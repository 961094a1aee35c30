#!/bin/bash
# Copies crds/*.yaml into both charts. `--check` changes nothing and fails where a copy differs; `make crds` runs the
# plain form after it has written crds/.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

status=0
for chart in milvus-backup-operator milvus-backup-operator-crds; do
  copies=charts/$chart/files/crds
  if [ "${1:-}" = --check ]; then
    diff -rq crds "$copies" || status=1
  else
    mkdir -p "$copies"
    rm -f "$copies"/*.yaml
    cp crds/*.yaml "$copies/"
  fi
done
[ $status = 0 ] || echo "the charts' definitions differ from crds/: run make crds" >&2
exit $status

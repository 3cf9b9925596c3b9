"""Code that writes to every stream and log, as a migration or a library may do in a command."""

from __future__ import annotations

from pathlib import Path

TOKEN = "pr1nted"
"""Stands in everything that this code prints."""
LOGGED = "l0gged"
"""Stands in everything that it gives to `logging`, to `warnings` and to the hooks of the interpreter."""
KEYRING = "tests.support.printing_keyring.PrintingKeyring"
"""A keyring that prints and logs, for PYTHON_KEYRING_BACKEND."""
PRINTS = f"""
import os, subprocess, sys
print("{TOKEN} print", end="")
print("{TOKEN} line")
sys.stdout.buffer.write(b"{TOKEN} buffer\\n")
sys.__stdout__.write("{TOKEN} original\\n")
os.write(1, b"{TOKEN} descriptor\\n")
subprocess.run(["echo", "{TOKEN} child"], check=True)
sys.stderr.write("{TOKEN} error\\n")
"""
WRITES = f"""
{PRINTS}
import atexit, logging, threading, warnings
atexit.register(print, "{TOKEN} at exit")
logging.warning("{LOGGED} root")
logging.getLogger("other.own").error("{LOGGED} own")
logging.basicConfig(level=logging.DEBUG, force=True)
logging.getLogger("other.own").addHandler(logging.StreamHandler(sys.stdout))
logging.getLogger("other.own").error("{LOGGED} handler")
logging.getLogger("other.own").error("{LOGGED} number %d", "none")
logging.debug("{LOGGED} debug")
warnings.warn("{LOGGED} warning", UserWarning, stacklevel=1)
class Unraisable:
    def __del__(self):
        raise RuntimeError("{LOGGED} unraisable")
Unraisable()
def fail():
    raise RuntimeError("{LOGGED} thread")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
"""

# Typer reads the command line, which says where log lines go: until then it may only print.
_ON_IMPORTS = f"""
import sys

WRITES = dict.fromkeys(
    ("rich", "yaml", "sqlalchemy", "psycopg", "alembic", "pydantic_settings", "dotenv", "jwt", "httpx", "supabase_auth",
     "keyring", "platformdirs", "pythonjsonlogger"), {WRITES!r})
WRITES["typer"] = {PRINTS!r}

class Printing:
    def find_spec(self, name, path=None, target=None):
        exec(WRITES.pop(name, ""), {{}})

sys.meta_path.insert(0, Printing())
"""


def printing_imports(folder: Path) -> dict[str, str]:
    """Return the environment of a process in which every library prints and logs before it is imported."""
    (folder / "sitecustomize.py").write_text(_ON_IMPORTS)
    return {"PYTHONPATH": str(folder)}

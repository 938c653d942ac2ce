"""A PostgreSQL server of one's own, for measurements and tests: in a folder and on a socket that nobody else sees."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def initdb() -> Path | None:
    """Where PostgreSQL's initdb is, on the path or where Debian puts it; None where it is not installed."""
    found = [shutil.which("initdb"), *sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    return next((Path(path) for path in found if path), None)


@contextmanager
def server(*, durable: bool) -> Iterator[str]:
    """The URL of the server's first database, which is empty; the server ends with the context.

    Args:
        durable: wait for the disk at each commit, as a server in use does; tests need not.

    Raises:
        SystemExit: PostgreSQL is not installed.
    """
    program = initdb()
    if program is None:
        raise SystemExit("PostgreSQL is not installed: this needs its initdb and pg_ctl.")
    account = "postgres" if os.getuid() == 0 else None  # the server refuses to be root
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # a socket's path must be short
    if account:
        shutil.chown(folder, account)

    def run(command: str, *arguments: str) -> None:
        subprocess.run([program.with_name(command), "-D", folder / "data", *arguments], check=True, user=account,
                       cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    run("initdb", "-A", "trust", "-U", "preceptor", "-N", "-E", "UTF8", "--locale=C")
    fsync = "" if durable else " -c fsync=off"
    run("pg_ctl", "-w", "-o", f"-k {folder} -c listen_addresses=''{fsync}", "start")
    try:
        yield f"postgresql://preceptor@/postgres?host={folder}"
    finally:
        run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(folder)

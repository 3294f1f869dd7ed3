"""A throw-away PostgreSQL cluster that can crash and be started again. Its database's owner is no superuser."""

import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile


def programs() -> pathlib.Path:
    """Where Debian keeps initdb and pg_ctl; the newest, or where PATH finds them."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    if there := shutil.which("initdb"):
        return pathlib.Path(there).resolve().parent
    raise SystemExit("PostgreSQL is not installed: run `scripts/setup.sh test`")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Postgres:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fleetward-postgres-"))
        self.data = self.folder / "data"
        self.port = free_port()
        self.url = f"postgres://fleetward@127.0.0.1:{self.port}/fleetward"
        # PostgreSQL refuses to run as root: Debian's package makes a user for it.
        self.user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        if self.user:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        self.run("initdb", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D", self.data)
        self.start()
        for sql in ("CREATE ROLE fleetward LOGIN", "CREATE DATABASE fleetward OWNER fleetward"):
            self.run("psql", "-h", "127.0.0.1", "-p", self.port, "-U", "postgres", "-X", "-q", "-c", sql)

    def run(self, program, *arguments):
        who = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}
        command = [programs() / program, *map(str, arguments)]
        # Its output stays open with what it leaves behind, so it goes to a file.
        with open(self.folder / "commands.log", "ab") as log:
            subprocess.run(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True, **who)

    def start(self):
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        self.run("pg_ctl", "-D", self.data, "-l", self.folder / "log", "-o", options, "-w", "-t", "30", "start")

    def crash(self):
        """Stops it as a power cut would: no checkpoint, no farewell; the next start recovers from its log."""
        self.run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "-t", "30", "stop")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")
        except subprocess.CalledProcessError:
            pass  # it was down already
        shutil.rmtree(self.folder, ignore_errors=True)

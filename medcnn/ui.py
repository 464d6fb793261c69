"""The verb ui: MLflow's pages over the local store, on this machine only.

python -m medcnn.ui [port=5000] [uri=sqlite:///mlflow.db]
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from medcnn.config.arguments import ArgumentError, key_values
from medcnn.tracking.link import UI_HOST, UI_PORT, deep_link
from medcnn.tracking.store import Store, quiet_environment, resolve_store

HELP = f"""medcnn ui [port={UI_PORT}] [uri=sqlite:///mlflow.db]

Show the runs in a browser. Listens on {UI_HOST} only: the pages have no login,
and hold pictures of patients. From another machine: ssh -L {UI_PORT}:{UI_HOST}:{UI_PORT} <host>

  port    default {UI_PORT}
  uri     the store (default: mlflow.db here; MLFLOW_TRACKING_URI wins)
"""
START_TIMEOUT_S = 90.0
MOST_LINKS = 10


def ui(store: Store, *, port: int = UI_PORT) -> int:
    """Serve a store's pages until Ctrl-C; the server's exit code. For a server's store, only say where it is."""
    if store.is_server:
        _say(f"These runs are on a server, which has the pages: {store.uri}")
        return 0
    database = store.database_file()
    if database is not None and not database.exists():
        _say(f"{database} does not exist: nothing was tracked here yet. Train first, or give uri=")
        return 1
    server = start_server(store, port=port)
    try:
        if not _wait_until_healthy(server, port):
            _say(f"The server did not start. Is port {port} taken? Try port={port + 1}")
            server.terminate()
            return 1
        for line in links(store, port=port):
            _say(line)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()
        server.wait()


def server_environment() -> dict[str, str]:
    """No usage data, no jobs."""
    environment = quiet_environment(dict(os.environ))
    return {**environment, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def start_server(store: Store, *, port: int) -> subprocess.Popen[bytes]:
    """In a process of its own, started where medcnn lies: Python looks for modules in the working directory first."""
    import medcnn

    source = Path(medcnn.__file__).resolve().parent.parent
    order = json.dumps({"uri": store.uri, "artifact_location": store.artifact_location, "port": port})
    return subprocess.Popen(
        [sys.executable, "-m", "medcnn.tracking.pages", order],
        cwd=source,
        env=server_environment(),
        stdin=subprocess.DEVNULL,
    )


def links(store: Store, *, port: int) -> list[str]:
    """The experiments that last changed, each with the address of its runs."""
    database = store.database_file()
    if database is None:
        return [f"http://{UI_HOST}:{port}"]
    query = (
        "select experiment_id, name from experiments where lifecycle_stage = 'active' and experiment_id != 0 "
        "order by last_update_time desc limit ?"
    )
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        found = connection.execute(query, (MOST_LINKS,)).fetchall()
    lines = [f"{name}: {deep_link(store, str(number), port=port)}" for number, name in found]
    return lines or [f"http://{UI_HOST}:{port}"]


def _wait_until_healthy(server: subprocess.Popen[bytes], port: int) -> bool:
    until_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until_s and server.poll() is None:
        try:
            with urlopen(f"http://{UI_HOST}:{port}/health", timeout=2) as answer:
                return bool(answer.status == 200) and server.poll() is None
        except (URLError, OSError):
            time.sleep(0.3)
    return False


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """The door."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if {"--help", "-h"}.intersection(arguments):
        _say(HELP)
        return 0
    try:
        values = key_values(arguments, {"port": str(UI_PORT), "uri": ""})
        if not (values["port"].isdecimal() and 1 <= int(values["port"]) <= 65535):
            raise ArgumentError(f"port={values['port']}: a port is a number from 1 to 65535")
        store = resolve_store(values["uri"])
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # or the server would outlive us
    return ui(store, port=int(values["port"]))


if __name__ == "__main__":
    sys.exit(main())

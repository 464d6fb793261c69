"""MLflow's pages for one store, on this machine only, and without MLflow's assistant.

The assistant's address lets whoever reaches it run commands as the user who opened the pages, and sends what is on
them to a language model. MLflow (3.17) has no switch for it, and on a shared machine every user reaches 127.0.0.1:
so MLflow's own application is served with that address closed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from medcnn.tracking.link import UI_HOST
from medcnn.tracking.store import Store, silence, with_password

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

CLOSED = ("/mlflow/assistant", "/gateway/")


def allowed_hosts(port: int) -> list[str]:
    """MLflow compares the whole Host header, and browsers send the port with it."""
    return [f"{name}{end}" for name in ("localhost", UI_HOST) for end in ("", f":{port}")]


def application(store: Store, *, port: int) -> Application:
    """MLflow's application over a store, as `mlflow server` makes it, but for the closed addresses.

    Sets this process's environment, which is where MLflow's application takes its settings from.
    """
    silence()
    os.environ["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join(allowed_hosts(port))
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    os.environ.pop("MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE", None)
    os.environ["_MLFLOW_SGI_NAME"] = "uvicorn"
    from mlflow.server import constants

    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = with_password(store.uri)
    if store.artifact_location:
        os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = store.artifact_location
        os.environ[constants.ARTIFACTS_DESTINATION_ENV_VAR] = store.artifact_location
    from mlflow.server.fastapi_app import create_fastapi_app

    return closing_addresses(create_fastapi_app())


def closing_addresses(inner: Application) -> Application:
    """Everything as before, but 404 for the closed addresses."""

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"} and any(part in scope["path"].lower() for part in CLOSED):
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await inner(scope, receive, send)

    return outer


def main(arguments: list[str]) -> None:
    """The server's process; ends with Ctrl-C or SIGTERM."""
    import uvicorn

    order = json.loads(arguments[0])
    store = Store(order["uri"], order["artifact_location"])
    uvicorn.run(application(store, port=order["port"]), host=UI_HOST, port=order["port"], log_level="warning")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Where a browser shows the run."""

from __future__ import annotations

from medcnn.tracking.store import Store

UI_HOST = "127.0.0.1"
UI_PORT = 5000


def deep_link(store: Store, experiment_id: str, *, port: int = UI_PORT) -> str:
    """The experiment's runs, in MLflow's view for trained models: by itself the UI opens in the one for chat models."""
    server = store.uri if store.is_server else f"http://{UI_HOST}:{port}"
    return f"{server}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"

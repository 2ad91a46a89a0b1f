"""`feedback store`."""

from __future__ import annotations

from pipeline.cli.common import ConfigOption, console, fail, load_settings
from pipeline.cli.memory import keep_freed_memory


def run(config: ConfigOption = None) -> None:
    """The embedded store, until Ctrl-C: ClickHouse's engine and its HTTP interface on this machine.

    It answers at store.http what a ClickHouse server would: clickhouse-connect, Grafana, curl. Anybody on this
    machine may read. Writing is for user `writer`, whose password is store.token; if that is not set, it is made
    at the first start and kept in the file `token` of the store's folder. Other commands start a store by
    themselves if none answers.
    """
    settings = load_settings(config)
    folder = settings.store.folder
    if folder is None:
        fail("store.dsn names a ClickHouse server, so there is no embedded store to run: use chdb:///folder")
    keep_freed_memory()  # a batch of rows has many megabytes
    from pipeline.embedded.store import serve

    token = settings.store.token
    serve(
        folder,
        settings.store.http.host,
        settings.store.http.port,
        token.get_secret_value() if token else None,
        ready=lambda address: console.print(f"The store answers at http://{address}, data in {folder}."),
    )

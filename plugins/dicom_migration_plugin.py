"""The one plugin of the project: its page in Airflow's UI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.plugins_manager import AirflowPlugin

URL_PREFIX = "/migration"


class _FirstRequestApp:
    """Imports the page when it is first asked for.

    Every worker process loads plugins; the page's imports (Airflow's API server) would cost each
    task seconds.
    """

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        from dicom_migration.ui.reports_page import app

        await app(scope, receive, send)


class DicomMigrationPlugin(AirflowPlugin):
    """Adds "Migration reports" to the Browse menu."""

    name = "dicom_migration"
    fastapi_apps = [  # noqa: RUF012 - Airflow declares an instance variable
        {"app": _FirstRequestApp(), "url_prefix": URL_PREFIX, "name": "Migration reports"}
    ]
    external_views = [  # noqa: RUF012 - as above
        {
            "name": "Migration reports",
            "href": f"{URL_PREFIX}/reports",
            "destination": "nav",
            "category": "browse",
            "url_route": "migration-reports",
        }
    ]

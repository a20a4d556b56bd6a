"""The base of operators that work on source, target and ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator

from dicom_migration.operators.defaults import LEDGER_CONN_ID, SOURCE_CONN_ID, TARGET_CONN_ID


class ConnectedOperator(BaseOperator):
    """Holds the three connection ids.

    :param source_conn_id: connection of the source archive (templated)
    :param target_conn_id: connection of the target bucket (templated)
    :param ledger_conn_id: connection of the ledger (templated)
    """

    template_fields: Sequence[str] = ("source_conn_id", "target_conn_id", "ledger_conn_id")

    def __init__(
        self,
        *,
        source_conn_id: str = SOURCE_CONN_ID,
        target_conn_id: str = TARGET_CONN_ID,
        ledger_conn_id: str = LEDGER_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source_conn_id = source_conn_id
        self.target_conn_id = target_conn_id
        self.ledger_conn_id = ledger_conn_id

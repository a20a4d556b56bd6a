"""The lists on both databases of the ledger, for real."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import func, select

from dicom_migration.cleansing.list_loading import load_lists
from dicom_migration.ledger import Ledger, schema
from dicom_migration.policies.identity import IdentityPolicy, OrderList, PatientList


def test_chains_circles_and_orders_come_out_the_same(any_ledger: Ledger, tmp_path: Path) -> None:
    merges, orders = tmp_path / "merges.csv", tmp_path / "orders.csv"
    chain = "".join(f"P{n},P{n + 1}\n" for n in range(300))
    merges.write_text(f"old_id,surviving_id\n{chain}A,B\nB,A\nX,A\nC,D\nC,E\nY,C\nS,S\n")
    orders.write_text("StudyInstanceUID,AccessionNumber\n1.2,N1\n")
    policy = IdentityPolicy(
        patients=PatientList(file=merges),
        orders=OrderList(file=orders, fill=("AccessionNumber",)),
    )
    assert load_lists(any_ledger, policy) == {"patients": 307, "orders": 1}
    assert load_lists(any_ledger, policy) == {"patients": 307, "orders": 1}, "and is read once"
    link = schema.patient_link.c
    with any_ledger.read() as connection:
        rows = connection.execute(select(link.verdict, func.count()).group_by(link.verdict))
        assert {row.verdict: row.count for row in rows} == {"": 301, "cycle": 3, "two-survivors": 3}
        finals = connection.scalars(
            select(link.final_id).where(link.verdict == "").distinct().order_by(link.final_id)
        )
        assert list(finals) == ["P300", "S"]
        events = connection.scalars(
            select(schema.event.c.kind).where(schema.event.c.chain == "lists")
        )
        assert list(events).count("list.read") == 2

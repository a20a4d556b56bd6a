"""A plan is the same on SQLite and PostgreSQL: decisions, order, hash, cost, files."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text

from dicom_migration.discovery.approval import approve_plan
from dicom_migration.discovery.decisions import PlanPolicies
from dicom_migration.discovery.plan_export import export_plan
from dicom_migration.discovery.plan_figures import plan_figures
from dicom_migration.discovery.planning import make_plan
from dicom_migration.ledger import Ledger, schema, utc_now
from dicom_migration.policies.retention import LegalHold, RetentionPolicy, RetentionRule
from dicom_migration.policies.strategy import SelectionRule, StrategyPolicy, WaveLimits
from dicom_migration.policies.tiers import AccessRate, Packing, TierRule, load_tiers_policy
from dicom_migration.policies.windows import WindowPolicy
from include.peers.postgres import Postgres
from tests.conftest import require

TODAY = date(2025, 11, 1)
STUDIES = 3000


def record(ledger: Ledger) -> None:
    """Fill the ledger with an archive that has every oddity a condition has to bear."""
    drawn = random.Random(5)
    now = utc_now()
    dates = ["", "2019-3-4", "00000000", "20209999", "18991231", "21000101"]
    rows = []
    for number in range(STUDIES):
        day = TODAY - timedelta(days=int(drawn.random() ** 2 * 12_000))
        instances = drawn.choice([None, 0, 1, 5, 400])
        rows.append(
            {
                "study_instance_uid": f"1.2.{drawn.choice([3, 30, 300])}.{number}",
                "state": "discovered",
                "study_date": drawn.choice(dates) if number % 40 == 0 else f"{day:%Y%m%d}",
                "patient_id": f"P{drawn.randrange(700)}" if number % 9 else "",
                "patient_birth_date": drawn.choice(["", "19500231", "20040101", "1950-1-1"]),
                "issuer_of_patient_id": drawn.choice(["NORTH", "South", "Süd"]),
                "modalities": drawn.choice(["CT", "MG", "MG\\SR", "US", "", "%", "_T"]),
                "number_of_series": drawn.choice([None, 1, 3]),
                "number_of_instances": instances,
                "bytes_estimated": None if instances is None else instances * 400_000,
                "priority": int(number % 500 == 0),
                "first_seen_at": now,
                "last_seen_at": now,
                "updated_at": now,
            }
        )
    with ledger.write() as connection:
        connection.execute(insert(schema.study), rows)


def policies(order: str) -> PlanPolicies:
    waves = WaveLimits(
        max_studies=170,
        max_bytes=20_000_000_000,
        order=order,
        modalities=("MG", "CT") if order == "by_modality" else (),
    )
    rules = (
        SelectionRule(name="no-south", action="exclude", reason="stays", sites=("Süd",)),
        SelectionRule(
            name="listed",
            action="exclude",
            reason="a list",
            study_instance_uids=tuple(f"1.2.3.{n}" for n in range(600)),
        ),
    )
    tiers = load_tiers_policy().model_copy(
        update={
            "rules": (
                TierRule(name="old", storage_class="DEEP_ARCHIVE", min_age_months=120),
                *load_tiers_policy().rules,
            ),
            "access": (AccessRate(retrievals_a_year="0.5", younger_than_months=12),),
            "packing": Packing(layout="small_instances"),
        }
    )
    retention = RetentionPolicy(
        rules=(
            RetentionRule(
                name="adults",
                reason="ten years",
                older_than_years=10,
                patient_age_at_study_from=18,
                except_modalities=("MG",),
            ),
            RetentionRule(
                name="minors", reason="longer", older_than_years=15, patient_age_at_study_below=18
            ),
        ),
        legal_holds=(LegalHold(name="case", reason="lawyers", study_instance_uids=("1.2.3.7",)),),
    )
    return PlanPolicies(
        StrategyPolicy(strategy="hybrid", rules=rules, waves=waves), tiers, retention, TODAY
    )


def everything(ledger: Ledger, folder: Path, order: str) -> dict[str, Any]:
    """Plan, approve, let time pass, plan anew; return all that came of it."""
    folder.mkdir()
    ledger.upgrade()
    record(ledger)
    made = policies(order)
    first = make_plan(ledger, made)
    assert first is not None
    approve_plan(ledger, first.plan_id, first.content_sha256, "Ada")
    later = replace(made, as_of=date(2026, 8, 1))
    second = make_plan(ledger, later, replan=True)
    assert second is not None
    with ledger.read() as connection:
        figures = plan_figures(connection, second, later, WindowPolicy())
        states = connection.execute(
            select(schema.study.c.state, schema.study.c.wave_id, func.count())
            .group_by(schema.study.c.state, schema.study.c.wave_id)
            .order_by(schema.study.c.wave_id, schema.study.c.state)
        ).all()
    changed = figures.changes
    assert changed is not None
    return {
        "plans": [first, second],
        "states": [tuple(row) for row in states],
        "file": export_plan(ledger, second, folder)[0].read_bytes(),
        "costs": [(cost.way.name, cost.total, cost.month) for cost in figures.costs],
        "changes": {**asdict(changed), "approved_at": None},
        "archive": figures.archive,
        "purge": figures.purge,
        "waves": figures.waves,
    }


@contextmanager
def postgres(workdir: Path) -> Iterator[Callable[[str], Ledger]]:
    """Give databases of a server whose language sorts otherwise than byte by byte."""
    with Postgres(workdir) as server:

        def database(name: str) -> Ledger:
            statement = text(
                f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'"
            )
            with Ledger(server.url) as first, first.engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT").execute(statement)
            return Ledger(server.url.rpartition("/")[0] + f"/{name}")

        yield database


@pytest.mark.peers
def test_both_databases_make_the_same_plan(tmp_path: Path) -> None:
    require(Postgres.available(), "postgresql")
    with postgres(tmp_path) as database:
        for order in ("newest_first", "upcoming_need", "by_modality"):
            with Ledger(f"sqlite:///{tmp_path / order}.db") as ledger:
                sqlite = everything(ledger, tmp_path / f"sqlite-{order}", order)
            with database(order) as ledger:
                assert everything(ledger, tmp_path / f"postgres-{order}", order) == sqlite
            assert sqlite["changes"]["let_in"] > 0
            assert sqlite["changes"]["other_class"] > 0
            assert {made.rule for made in sqlite["purge"]} == {"adults", "minors"}

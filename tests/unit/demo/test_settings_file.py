import json
from pathlib import Path

from include.demo.endpoints import connection_fields, merged
from include.demo.settings_file import read_settings

SETTINGS = Path(__file__).parents[3] / "airflow_settings.yaml"


def test_the_file_names_what_the_dags_use() -> None:
    from dicom_migration.operators import defaults

    settings = read_settings(SETTINGS)
    assert {c["connection_id"] for c in settings.connections} == {
        defaults.SOURCE_CONN_ID,
        defaults.TARGET_CONN_ID,
        defaults.LEDGER_CONN_ID,
    }
    assert {p["name"] for p in settings.pools} == {defaults.PACS_POOL, defaults.CLOUD_POOL}


def test_addresses_are_replaced_and_the_rest_stays() -> None:
    (source, *_) = read_settings(SETTINGS).connections
    changed = merged(source, {"port": 4242, "extra": {"called_ae_title": "OTHER"}})
    extra = json.loads(changed["extra"])
    assert changed["port"] == 4242
    assert extra["called_ae_title"] == "OTHER"
    assert extra["retrieve_method"] == "C-GET"


def test_a_connection_is_read_from_json_and_from_a_uri() -> None:
    written = {"conn_type": "dicom", "host": "pacs", "port": 104, "extra": {"called_ae_title": "A"}}
    fields = connection_fields(json.dumps(written))
    assert (fields["host"], fields["port"]) == ("pacs", 104)
    assert fields["extra"] == {"called_ae_title": "A"}
    fields = connection_fields("dicom://user:p%40ss@pacs:104/?called_ae_title=A")
    assert (fields["host"], fields["port"], fields["password"]) == ("pacs", 104, "p@ss")
    assert fields["extra"]["called_ae_title"] == "A"

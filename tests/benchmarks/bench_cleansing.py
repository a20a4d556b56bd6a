"""How long judging takes: made-up headers in a ledger against the general suite.

``python -m tests.benchmarks.bench_cleansing [headers]`` (1,000,000 unless said otherwise) fills a
ledger on SQLite with headers, 20 a study, a few of them with each kind of defect, and judges them
as the cleansing DAG does: read the columns, derive what expectations cannot compute, validate
once, name the failing rows, keep back studies. What it is measured against is a limit, 60 s and
2,000 MB for a million headers, and no program. The memory is the highest of the process that did
it, its imports included.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date

from sqlalchemy import text

from dicom_migration.cleansing.judging import judge_wave
from dicom_migration.ledger import Ledger
from dicom_migration.quality import judge_frame
from dicom_migration.quality.columns import columns_of_suites
from dicom_migration.quality.scores import scores_of
from tests.benchmarks.harness import Comparison, report

SECONDS_A_MILLION, MEGABYTES = 60.0, 2_000.0
WAVE, SUITE = "Pbench-W0001", "header_general"
HEADERS_A_STUDY = 20
_STUDIES = """
WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {studies})
INSERT INTO study (study_instance_uid, state, wave_id, first_seen_at, last_seen_at, updated_at)
SELECT '1.2.826.0.1.3680043.8.498.' || ((n * 7919) % 1000003) || '.' || n, 'planned', '{wave}',
  datetime('now'), datetime('now'), datetime('now')
FROM number
"""
#: What a CT's header has, as header_fact.attributes tells it; devices differ by a tag.
_ATTRIBUTES = (
    "00080005 00080008 00080012 00080013 00080014 00080016 00080018 00080020 00080021 "
    "00080022 00080023 00080030 00080031 00080032 00080033 00080050 00080060 00080070 "
    "00080080 00080081 00080090e 00081010 00081030 0008103E 00081040 00081090 00100010 "
    "00100020 00100030 00101010 00101030 00180015 00180050 00180060 00180090 00181020 "
    "00181030 00181100 00181110 00181111 00181120 00181130 00181140 00181151 00181152 "
    "00181160 00181210 00185100 0020000D 0020000E 00200010 00200011 00200012 00200013 "
    "00200032 00200037 00200052 00201040 00201041 00280002 00280004 00280010 00280011 "
)
_HEADERS = """
WITH RECURSIVE place(m) AS (SELECT 1 UNION ALL SELECT m + 1 FROM place WHERE m < {each})
INSERT INTO header_fact (study_instance_uid, series_instance_uid, sop_instance_uid,
  sop_class_uid, transfer_syntax_uid, specific_character_set, text_encoding, modality, patient_id,
  patient_name, patient_birth_date, patient_sex, study_date, study_time, study_id,
  accession_number, study_description, institution_name, manufacturer, series_date,
  series_number, series_description, body_part_examined, instance_number,
  photometric_interpretation, "rows", "columns", bits_allocated, samples_per_pixel, attributes)
SELECT study_instance_uid, study_instance_uid || '.' || m,
  study_instance_uid || '.' || m || '.' || (m * 13),
  '1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.1.2.1', 'ISO_IR 100',
  CASE rowid % 50 WHEN 0 THEN '8-bit' ELSE 'declared' END,
  CASE rowid % 7 WHEN 0 THEN 'MR' WHEN 1 THEN 'CR' WHEN 2 THEN 'US' ELSE 'CT' END,
  CASE rowid % 97 WHEN 0 THEN NULL ELSE 'P' || (rowid % 40000) END,
  'Family' || (rowid % 9973) || '^Given' || (rowid % 311),
  CASE rowid % 89 WHEN 0 THEN '1960-01-01' ELSE (1930 + rowid % 70) || '0615' END,
  CASE rowid % 41 WHEN 0 THEN 'W' WHEN 1 THEN NULL ELSE 'F' END,
  CASE rowid % 83 WHEN 0 THEN '20991231' ELSE (2001 + rowid % 24) || '0' || (1 + rowid % 9) || '15'
  END, '101500', 'S' || (rowid % 999), 'A' || rowid, 'Study of region ' || (rowid % 300),
  'Hospital ' || (rowid % 12), 'Maker ' || (rowid % 9), (2001 + rowid % 24) || '0615', m,
  'Series ' || m, CASE rowid % 31 WHEN 0 THEN 'LUMBAR SPINE AND SACRUM' ELSE 'CHEST' END, m,
  'MONOCHROME2', 512, 512, 16, 1,
  ' {attributes}' || CASE rowid % 41 WHEN 0 THEN '00100040v ' ELSE '00100040 ' END
    || '0021' || printf('%04X', rowid % 200) || ' '
FROM study, place
"""


def main() -> None:
    """Run in a process of its own, so that its peak memory is nobody else's."""
    headers = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/ledger.db"
        with ProcessPoolExecutor(1, mp_context=spawn) as process:
            process.submit(fill, url, headers).result()
        with ProcessPoolExecutor(1, mp_context=spawn) as process:
            found = process.submit(measure, url, headers).result()
    report("cleansing", found)


def fill(url: str, headers: int) -> None:
    """Make the headers up, inside the database."""
    with Ledger(url) as ledger:
        ledger.upgrade()
        studies = max(headers // HEADERS_A_STUDY, 1)
        with ledger.write() as connection:
            connection.execute(text(_STUDIES.format(studies=studies, wave=WAVE)))
            connection.execute(text(_HEADERS.format(each=HEADERS_A_STUDY, attributes=_ATTRIBUTES)))


def measure(url: str, headers: int) -> list[Comparison]:
    """Judge them once."""
    started = time.perf_counter()
    with Ledger(url) as ledger:
        columns = columns_of_suites([SUITE])
        judged = judge_wave(ledger, WAVE, [SUITE], judge_frame, date(2026, 1, 1), (), columns)
    scores_of(judged.judgements)  # type: ignore[arg-type]
    seconds = time.perf_counter() - started
    assert judged.failing, "none of the planted defects was found"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    limit = SECONDS_A_MILLION * headers / 1_000_000
    case = f"of {headers:,} headers by the general suite, SQLite"
    return [
        Comparison(f"judging {case}", seconds, limit, "s", seconds / limit),
        Comparison(f"peak memory {case}", peak, MEGABYTES, "MB", peak / MEGABYTES),
    ]


if __name__ == "__main__":
    main()

"""What an auditor does with a certificate: check its signature, its objects, and its sums."""

from __future__ import annotations

import json
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from dicom_migration.certificate import main
from dicom_migration.errors import PermanentError
from dicom_migration.hooks.signing import signing_key
from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.verification.certificate import issue_certificate
from dicom_migration.verification.certificate_report import render_certificate
from dicom_migration.verification.claims import Shard
from dicom_migration.verification.compaction import compact_wave
from dicom_migration.verification.shards import verify_shard
from dicom_migration.verification.signing import signed
from tests.integration.verification.written_wave import WAVE

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
POLICY = VerificationPolicy()


def public_pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private_pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture
def folder(wave, tmp_path):
    """The signed certificate, the public key and the manifests, as an auditor is given them."""
    verify_shard(wave.archive, wave.store, wave.ledger, Shard(WAVE, 0, 100), POLICY)
    compact_wave(wave.store, wave.ledger, WAVE, POLICY)
    document = signed(issue_certificate(wave.ledger, WAVE, "0" * 64), "certificate", KEY)
    folder = tmp_path / "given"
    (folder / "manifests").mkdir(parents=True)
    (folder / "certificate.json").write_text(json.dumps(document))
    (folder / "public.pem").write_bytes(public_pem(KEY))
    (folder / "other.pem").write_bytes(public_pem(OTHER))
    for part in document["certificate"]["objects"]["manifest_parts"]:
        (folder / "manifests" / part["key"].rsplit("/", 1)[-1]).write_bytes(
            wave.store.read(part["key"])
        )
    return folder


def check(folder, *more, key="public.pem"):
    certificate, manifests = folder / "certificate.json", folder / "manifests"
    given = ["--manifests", str(manifests), "--public-key", str(folder / key)]
    return main(["verify", str(certificate), *given, *more])


@pytest.fixture
def bucket(endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-test-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-test-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return ["--bucket", "s3://archive", "--endpoint-url", endpoint]


def test_a_signed_certificate_holds_and_another_key_is_refused(folder, capsys):
    assert check(folder) == 0
    assert "NOTE" not in capsys.readouterr().out
    assert check(folder, key="other.pem") == 1
    assert "another key" in capsys.readouterr().out


def test_whoever_changes_it_and_hashes_it_anew_cannot_sign_it(folder, capsys):
    from dicom_migration.verification.certificate_check import body_hash

    file = folder / "certificate.json"
    document = json.loads(file.read_text())
    document["certificate"]["wave"]["plan_approved_by"] = "somebody else"
    document["sha256"] = body_hash(document["certificate"])
    file.write_text(json.dumps(document))
    assert main(["verify", str(file)]) == 1
    assert "changed after it was signed" in capsys.readouterr().out


def test_an_unsigned_one_says_so_and_fails_where_a_signature_is_asked_for(folder, capsys):
    file = folder / "certificate.json"
    document = json.loads(file.read_text())
    del document["signature"]
    file.write_text(json.dumps(document))
    assert main(["verify", str(file)]) == 0
    assert "UNSIGNED" in capsys.readouterr().out
    assert check(folder) == 1
    assert "UNSIGNED" in render_certificate(document)


@pytest.mark.parametrize("place", range(0, 100, 7))
def test_one_byte_changed_anywhere_never_passes(folder, place):
    file = folder / "certificate.json"
    data = bytearray(file.read_bytes())
    data[len(data) * place // 100] ^= 0x01
    file.write_bytes(data)
    assert check(folder) in (1, 2)


def test_the_bucket_is_read_and_each_failing_object_named(folder, bucket, wave, client, capsys):
    assert check(folder, *bucket) == 0
    gone, changed = (wave.rows[uid][0] for uid in wave.studies[:2])
    client.delete_object(Bucket="archive", Key=gone.object_key)
    data = bytearray(wave.store.read(changed.object_key))
    data[-9] ^= 1
    client.put_object(Bucket="archive", Key=changed.object_key, Body=bytes(data))
    capsys.readouterr()
    assert check(folder, *bucket) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 2
    assert gone.sop_instance_uid in failed[0]
    assert changed.sop_instance_uid in failed[1]


def test_a_missing_manifest_is_named(folder, capsys):
    next((folder / "manifests").iterdir()).unlink()
    assert check(folder) == 1
    assert "part-" in capsys.readouterr().out


def test_sha256sum_accepts_the_exported_list_and_finds_a_flipped_bit(folder, wave, capsys):
    copy = folder / "copy"
    for rows in wave.rows.values():
        for row in rows:
            (copy / row.object_key).parent.mkdir(parents=True, exist_ok=True)
            (copy / row.object_key).write_bytes(wave.store.read(row.object_key))
    manifests = ["--manifests", str(folder / "manifests")]
    assert main(["export-sums", str(folder / "certificate.json"), *manifests]) == 0
    (copy / "sums").write_text(capsys.readouterr().out)

    def sha256sum():
        done = subprocess.run(
            ["sha256sum", "-c", "--quiet", "sums"], cwd=copy, capture_output=True, text=True
        )
        return done.returncode, done.stdout

    assert sha256sum() == (0, "")
    damaged = copy / wave.rows[wave.studies[0]][0].object_key
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\xff\xff")
    code, told = sha256sum()
    assert code == 1
    assert damaged.name in told


def test_the_key_comes_from_a_connection_or_its_file(monkeypatch, tmp_path):
    assert signing_key("not_configured") is None
    pem = private_pem(KEY)
    file = tmp_path / "key.pem"
    file.write_bytes(pem)
    for fields in ({"password": pem.decode()}, {"extra": {"key_file": str(file)}}):
        connection = json.dumps({"conn_type": "generic", **fields})
        monkeypatch.setenv("AIRFLOW_CONN_CERTIFICATE_SIGNING", connection)
        assert signing_key().public_key() == KEY.public_key()
    monkeypatch.setenv("AIRFLOW_CONN_CERTIFICATE_SIGNING", '{"conn_type": "generic"}')
    with pytest.raises(PermanentError, match="not an ed25519"):
        signing_key()

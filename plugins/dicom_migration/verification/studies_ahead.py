"""Studies in order, a few ahead of the one that is judged, so that reading never pauses.

Asking the source, listing, and writing a verdict down take a round trip each; meanwhile the pool
reads the objects of the next studies. Source and ledger are used by one thread alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from dicom_migration.archive import ImageArchive
from dicom_migration.cloud import CloudStore
from dicom_migration.errors import CONCERNS_EVERYBODY, PermanentError, TransientError
from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.verification.claims import StudyClaim
from dicom_migration.verification.findings import Finding, Remedy, StudyVerdict
from dicom_migration.verification.study import BegunStudy, begin_study

#: The next study is begun while fewer objects than this, a thread, wait to be read.
_OBJECTS_AHEAD = 4

Answer = StudyVerdict | TransientError


def verdicts_of(
    archive: ImageArchive,
    store: CloudStore,
    claims: Sequence[StudyClaim],
    policy: VerificationPolicy,
) -> Generator[tuple[StudyClaim, Answer]]:
    """Yield what became of each study, in order: a verdict, or why there is none.

    Raises
    ------
    PermanentError
        Source or store refuse us altogether.
    """
    pool = ThreadPoolExecutor(policy.read_threads, thread_name_prefix="read-back")
    enough = _OBJECTS_AHEAD * policy.read_threads
    ahead: deque[_Ahead] = deque()
    try:
        for claim in claims:
            while sum(study.objects for study in ahead) >= enough:
                yield _answered(ahead.popleft(), policy)
            ahead.append(_begun(archive, store, claim, policy, pool))
        while ahead:
            yield _answered(ahead.popleft(), policy)
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _Ahead:
    claim: StudyClaim
    finish: Callable[[], StudyVerdict]
    objects: int


def _begun(
    archive: ImageArchive,
    store: CloudStore,
    claim: StudyClaim,
    policy: VerificationPolicy,
    pool: ThreadPoolExecutor,
) -> _Ahead:
    """Begin a study; what prevents it is told in its turn, so that the order stays."""
    try:
        begun: BegunStudy = begin_study(archive, store, claim, policy, pool)
    except (TransientError, PermanentError) as error:
        prevented = error

        def refuse() -> StudyVerdict:
            raise prevented

        return _Ahead(claim, refuse, policy.read_threads)
    return _Ahead(claim, begun.finish, max(1, begun.objects))


def _answered(study: _Ahead, policy: VerificationPolicy) -> tuple[StudyClaim, Answer]:
    """Return the verdict; a refusal that concerns this study alone becomes one."""
    try:
        return study.claim, study.finish()
    except TransientError as error:
        return study.claim, error
    except PermanentError as error:
        if error.reason in CONCERNS_EVERYBODY:
            raise
        return study.claim, _refused(study.claim, error, policy)


def _refused(claim: StudyClaim, error: PermanentError, policy: VerificationPolicy) -> StudyVerdict:
    finding = Finding(error.reason, Remedy.DECIDE, error.message, error.next_step)
    return StudyVerdict(
        study_instance_uid=claim.study_instance_uid,
        method=policy.read_back.label,
        source_instances=0,
        received_instances=claim.received_instances,
        manifest_instances=0,
        cloud_instances=0,
        findings=(finding,),
    )

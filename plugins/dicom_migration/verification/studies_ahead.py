"""Studies in order, a few ahead of the one that is judged, so that reading never pauses.

Asking the source, listing, the manifest, and writing a verdict down take a round trip each, and
most studies are small. So the cloud is asked about some studies ahead, and the objects of the next
ones are read while a verdict is written. Source and ledger are used by one thread alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from dicom_migration.archive import ImageArchive
from dicom_migration.cloud import CloudStore
from dicom_migration.errors import CONCERNS_EVERYBODY, PermanentError, TransientError
from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.verification.claims import StudyClaim
from dicom_migration.verification.findings import Finding, Remedy, StudyVerdict
from dicom_migration.verification.readback import ReadBackResult
from dicom_migration.verification.study import BegunStudy, CloudSide, begin_study, cloud_side

#: The next study is begun while fewer readings than this, a thread, are not done.
_READINGS_AHEAD = 2
#: About so many studies the cloud is asked ahead, at once.
_ASKED_AHEAD = 4

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
    asking = ThreadPoolExecutor(_ASKED_AHEAD, thread_name_prefix="ask")
    pool = ThreadPoolExecutor(policy.read_threads, thread_name_prefix="read-back")
    enough = _READINGS_AHEAD * policy.read_threads
    ahead: deque[tuple[StudyClaim, BegunStudy]] = deque()
    try:
        for claim, asked in _asked(store, claims, asking):
            while len(pending := _pending(study for _, study in ahead)) >= enough:
                wait(pending[: len(pending) - enough + 1])
            while ahead and not ahead[0][1].pending():
                yield _answered(*ahead.popleft(), policy)
            ahead.append((claim, _begun(archive, asked, store, claim, policy, pool)))
        while ahead:
            yield _answered(*ahead.popleft(), policy)
    finally:
        asking.shutdown(cancel_futures=True)
        pool.shutdown(cancel_futures=True)


def _asked(
    store: CloudStore, claims: Sequence[StudyClaim], asking: ThreadPoolExecutor
) -> Iterator[tuple[StudyClaim, Future[CloudSide]]]:
    """Yield the studies in order, the next ones already asked for."""
    ahead: deque[tuple[StudyClaim, Future[CloudSide]]] = deque()
    for claim in claims:
        ahead.append((claim, asking.submit(cloud_side, store, claim)))
        if len(ahead) > _ASKED_AHEAD:
            yield ahead.popleft()
    yield from ahead


def _pending(studies: Iterable[BegunStudy]) -> list[Future[ReadBackResult]]:
    return [reading for study in studies for reading in study.pending()]


def _begun(
    archive: ImageArchive,
    asked: Future[CloudSide],
    store: CloudStore,
    claim: StudyClaim,
    policy: VerificationPolicy,
    pool: ThreadPoolExecutor,
) -> BegunStudy:
    """Begin a study; what prevents it is told in its turn, so that the order stays."""
    try:
        return begin_study(archive, asked.result(), store, claim, policy, pool)
    except (TransientError, PermanentError) as error:
        prevented = error

        def refuse() -> StudyVerdict:
            raise prevented

        return BegunStudy(refuse)


def _answered(
    claim: StudyClaim, study: BegunStudy, policy: VerificationPolicy
) -> tuple[StudyClaim, Answer]:
    """Return the verdict; a refusal that concerns this study alone becomes one."""
    try:
        return claim, study.finish()
    except TransientError as error:
        return claim, error
    except PermanentError as error:
        if error.reason in CONCERNS_EVERYBODY:
            raise
        return claim, _refused(claim, error, policy)


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

"""Which storage classes the bucket's own lifecycle rules may have moved an object to."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

#: From warm to cold: S3's lifecycle rules move an object to a later class, never to an earlier one
#: (Amazon S3 User Guide, "Transitioning objects using Amazon S3 Lifecycle").
STORAGE_CLASSES = (
    "STANDARD",
    "STANDARD_IA",
    "INTELLIGENT_TIERING",
    "ONEZONE_IA",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
)
#: The one pair in that order which S3 does not offer.
_NOT_OFFERED = ("ONEZONE_IA", "GLACIER_IR")


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value  # pydantic says what is wrong with it
    for planned, found in value.items():
        if not isinstance(found, list | tuple):
            raise ValueError(f"{planned} wants a list of classes, for example [STANDARD_IA]")
        if not found:
            raise ValueError(f"{planned} names no class: leave it out when nothing may move")
        if len(set(found)) < len(found):
            raise ValueError(f"{planned} names a class twice")
    return value


def _possible(value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    for planned, found in value.items():
        for name in (planned, *found):
            if name not in STORAGE_CLASSES:
                raise ValueError(
                    f"{name!r} is no storage class; there are {', '.join(STORAGE_CLASSES)}"
                )
        for name in found:
            later = STORAGE_CLASSES.index(name) > STORAGE_CLASSES.index(planned)
            if not later or (planned, name) == _NOT_OFFERED:
                raise ValueError(f"no lifecycle rule of S3 moves objects from {planned} to {name}")
    return value


#: Planned class to the classes in which its objects may be found as well.
Transitions = Annotated[
    dict[str, tuple[str, ...]], BeforeValidator(_listed), AfterValidator(_possible)
]

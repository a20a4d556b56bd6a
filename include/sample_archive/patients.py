"""The patients of the sample hospital: synthetic, and reproducible from the seed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from include.sample_archive.identifiers import derive_number

_FAMILY_NAMES = (
    "Almeida Bakker Castro Dubois Eriksen Fischer Garcia Horvat Ivanova Jansen Kowalska "
    "Lindqvist Moreau Novak Olsen Pereira Quist Rossi Santos Tanaka Urban Vasquez Weber Yilmaz "
    "Zeman"
)
_GIVEN_NAMES = {
    "F": ["Ana", "Beatriz", "Clara", "Dora", "Elena", "Freja", "Greta", "Hanna", "Irene", "Julia"],
    "M": ["Adam", "Bruno", "Carl", "David", "Emil", "Felix", "Georg", "Hugo", "Ivan", "Jonas"],
}
# Correctly encoded names outside ASCII: an archive that only knows ASCII proves little.
_SPELLED_BEYOND_ASCII = {
    3: ("Grünwald^Jörg", "M", "ISO_IR 100"),
    8: ("Núñez^Inés", "F", "ISO_IR 100"),
    13: ("Παπαδοπούλου^Ελένη", "F", "ISO_IR 192"),
    17: ("Yamada^Tarou=山田^太郎=やまだ^たろう", "M", "\\ISO 2022 IR 87"),
}
_FIRST_BIRTH = date(1931, 1, 1)
_DAYS_OF_BIRTHS = 68 * 365


@dataclass(frozen=True)
class Patient:
    """Who a study belongs to, as the registration desk knows them.

    Attributes
    ----------
    patient_id : str
        (0010,0020), 9 characters.
    name : str
        (0010,0010), DICOM PN, at most three component groups.
    birth_date : datetime.date
        (0010,0030).
    sex : str
        (0010,0040), ``M`` or ``F``.
    character_set : str
        (0008,0005) that spells `name`; empty for ASCII. Values are separated by a backslash.
    """

    patient_id: str
    name: str
    birth_date: date
    sex: str
    character_set: str = ""


def draw_patients(seed: int, count: int) -> list[Patient]:
    """Return `count` adults, every one born at least six years before the archive begins."""
    return [_draw(seed, number) for number in range(count)]


def _draw(seed: int, number: int) -> Patient:
    rng = np.random.default_rng(derive_number(seed, "patient", number))
    sex = "FM"[int(rng.integers(2))]
    families = _FAMILY_NAMES.split()
    family = families[number % len(families)]
    name = f"{family}^{_GIVEN_NAMES[sex][int(rng.integers(10))]}"
    character_set = ""
    if number in _SPELLED_BEYOND_ASCII:
        name, sex, character_set = _SPELLED_BEYOND_ASCII[number]
    born = _FIRST_BIRTH + timedelta(days=int(rng.integers(_DAYS_OF_BIRTHS)))
    return Patient(f"P{10000 + 137 * number:08d}", name, born, sex, character_set)

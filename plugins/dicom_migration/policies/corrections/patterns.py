"""Regular expressions that cannot run for ever, whatever text they meet.

Python's engine backtracks: it tries every way in which a pattern can divide a text. So a pattern
is taken apart when its rule is loaded and its ways are counted; one with too many is refused. The
count is an upper bound for values of at most `MAX_MATCHED` characters; longer ones never match.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Annotated, Any

from pydantic import AfterValidator, Field

MAX_PATTERN = 200
#: A longer value matches no pattern, and stays as it is.
MAX_MATCHED = 256
#: Ways that a pattern may divide a text from one starting point: two free repetitions, not three.
MAX_WAYS = (MAX_MATCHED + 1) ** 2
_TOO_MANY = MAX_WAYS + 1
_parser: Any = import_module("re._parser")  # the parser of `re` itself; sre_parse is its old name


def ways(pattern: str) -> int:
    """Return an upper bound of the ways `pattern` can match a text, cut off above `MAX_WAYS`.

    Raises
    ------
    ValueError
        It is no regular expression.
    """
    try:
        return _of_sequence(_parser.parse(pattern))
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression: {error}") from None


def full_match(pattern: str, value: str) -> bool:
    """Tell whether the whole value matches; a value longer than `MAX_MATCHED` does not."""
    return len(value) <= MAX_MATCHED and re.fullmatch(pattern, value) is not None


def replace_first(pattern: str, by: str, value: str) -> str:
    """Return `value` with the first match replaced; one longer than `MAX_MATCHED` stays."""
    return value if len(value) > MAX_MATCHED else re.sub(pattern, by, value, count=1)


def _of_sequence(nodes: Any) -> int:
    product = 1
    for operator, argument in nodes:
        product = min(product * _of_node(str(operator), argument), _TOO_MANY)
    return product


def _of_node(operator: str, argument: Any) -> int:
    if operator in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        fewest, most, body = argument
        return _of_repeat(int(fewest), min(int(most), MAX_MATCHED), _of_sequence(body))
    if operator == "BRANCH":
        return sum(_of_sequence(choice) for choice in argument[1])
    if operator == "GROUPREF_EXISTS":
        return sum(_of_sequence(choice) for choice in argument[1:] if choice)
    if operator in ("SUBPATTERN", "ASSERT", "ASSERT_NOT"):
        return _of_sequence(argument[-1])
    return _of_sequence(argument) if operator == "ATOMIC_GROUP" else 1


def _of_repeat(fewest: int, most: int, body: int) -> int:
    """Return the ways of `fewest` to `most` repetitions of something with `body` ways."""
    if body == 1:
        return max(most - fewest + 1, 1)
    total, product = 0, body ** min(fewest, 64)
    for _ in range(fewest, most + 1):
        total += product
        product *= body
        if total > MAX_WAYS:
            return _TOO_MANY
    return max(total, 1)


def _safe(pattern: str) -> str:
    if ways(pattern) > MAX_WAYS:
        raise ValueError(
            "its repetitions divide a text in too many ways and could run for ever; bound them "
            "({1,8} for +), put no repetition inside another, write [ab] for (a|b)"
        )
    return pattern


Pattern = Annotated[str, Field(max_length=MAX_PATTERN), AfterValidator(_safe)]

"""Which cases of a test belong to every run."""

from collections.abc import Iterable
from typing import Any

import pytest


def thorough_but(cases: Iterable[Any], *fast: Any) -> list[Any]:
    """Leaves all cases to thorough runs but those that are named; a tuple has a value for each argument."""
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=() if case in fast else pytest.mark.thorough,
        )
        for case in cases
    ]

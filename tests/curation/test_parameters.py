"""Parameters of a curation: their hash is a part of its id and must stay what the first release computed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from cocu.curation import parameters as parameters_module
from cocu.curation.parameters import CurationParameters

# Computed by the first release, which called the search "ivf" "cells".
HASHES_OF_THE_FIRST_RELEASE = [
    ({}, "6a1594fab3fba8500e8a9319e3ec2845d3261ce38dd0074cc832022b9dcbd5eb"),
    ({"search": "cells"}, "3e80bcafa74aa6008903244cc81826613760144a53a0e2ab124ff0f9b9b97f49"),
    (
        {"search": "exact", "neighbours": 256, "seed": 7},
        "d9ec7d9df7753550354c6af6d313cb2534c9f1f68b865ab0d05b95cb38fef412",
    ),
    (
        {
            "scoring": "official",
            "own_caption": False,
            "clustering": False,
            "min_score": -0.25,
            "max_concepts": 3,
            "duplicate_similarity": 2.0,
        },
        "21198087c4b37e2613a932f916b6c07da94054a5e6b3bbf05ef2be39a7915457",
    ),
    (
        {"search": "cells", "scoring": "set", "min_score": 0.0},
        "03a8bb715229a03b33a1757876ba0aafa24736c90c8c3a1171b4514a8cbad30d",
    ),
]


@pytest.mark.parametrize(("stored", "expected"), HASHES_OF_THE_FIRST_RELEASE)
def test_hash__is_that_of_the_first_release(stored: dict[str, Any], expected: str) -> None:
    assert CurationParameters.from_stored(stored).hash == expected


@pytest.mark.parametrize(("stored", "expected"), HASHES_OF_THE_FIRST_RELEASE)
def test_hash__is_that_of_the_first_release_under_the_new_name(stored: dict[str, Any], expected: str) -> None:
    renamed = stored | ({"search": "ivf"} if stored.get("search") == "cells" else {})
    assert CurationParameters(**renamed).hash == expected


def test_from_stored__reads_both_names_of_ivf() -> None:
    expected = CurationParameters(search="ivf", seed=3)
    assert CurationParameters.from_stored({"search": "cells", "seed": 3}) == expected
    assert CurationParameters.from_stored(dataclasses.asdict(expected)) == expected


def test_the_old_name_of_ivf_is_refused_in_new_parameters() -> None:
    with pytest.raises(ValueError, match="search must be one of auto, exact, ivf, not 'cells'"):
        CurationParameters(search="cells")  # type: ignore[arg-type]


def test_later_fields__enter_the_hash_only_when_they_change_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A field added later: stored parameters without it load, and its neutral value changes no hash."""
    monkeypatch.setattr(parameters_module, "_LATER_FIELDS", {"threshold": None})

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class LaterParameters(CurationParameters):
        threshold: float | None = 0.5

    stored = LaterParameters.from_stored({})
    assert stored.threshold is None
    assert stored.hash == CurationParameters().hash
    assert len({stored.hash, LaterParameters().hash, LaterParameters(threshold=0.25).hash}) == 3

"""The search of a torch device, checked on the CPU as one: the same steps, other rounding of products."""

from __future__ import annotations

import numpy as np
import pytest
from tests.neighbours.naive import unit_rows

from cocu.curation.archives import NO_NEIGHBOUR
from cocu.neighbours.exact import top_neighbours
from cocu.neighbours.matrix import Rows

cuda = pytest.importorskip(
    "cocu.neighbours.exact_cuda", reason="torch is not installed (make test-export does)"
)


@pytest.mark.parametrize("tile", [64, 700, 10_000])
@pytest.mark.parametrize("copies", [0, 12, 600])
@pytest.mark.parametrize("grouped", [False, True])
def test_propose__certain_lists_are_those_of_the_scan(tile: int, copies: int, grouped: bool) -> None:
    random = np.random.default_rng(0)
    embeddings_ND = unit_rows(random, 3000, 32)
    embeddings_ND[random.integers(0, 3000, copies)] = embeddings_ND[5]
    groups_N = random.integers(0, 900, 3000) if grouped else np.arange(3000)
    rows = Rows([embeddings_ND[:1000], embeddings_ND[1000:]])
    queries_Q = np.arange(0, 3000, 7)
    ids_QL = np.full((len(queries_Q), 8), NO_NEIGHBOUR, np.int64)
    exact_QL = np.full((len(queries_Q), 8), -np.inf)
    uncertain_U = cuda.propose(
        rows,
        queries_QD=rows.gather(queries_Q),
        own_Q=groups_N[queries_Q],
        groups_N=groups_N,
        ids_QL=ids_QL,
        exact_QL=exact_QL,
        tile=tile,
        device="cpu",
    )
    expected = top_neighbours([embeddings_ND], queries_Q, count=8, groups_N=groups_N)
    certain_Q = np.setdiff1d(np.arange(len(queries_Q)), uncertain_U)
    np.testing.assert_array_equal(ids_QL[certain_Q], expected.ids_QL[certain_Q])
    np.testing.assert_array_equal(exact_QL[certain_Q].astype(np.float32), expected.similarities_QL[certain_Q])
    if copies <= cuda.SPARE and not grouped:
        assert len(certain_Q) > 0.95 * len(queries_Q)


def test_top_neighbours__searches_again_what_the_device_is_not_certain_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = cuda.propose
    monkeypatch.setattr(cuda, "propose", lambda rows, **arguments: original(rows, **arguments, device="cpu"))
    embeddings_ND = unit_rows(np.random.default_rng(0), 2000, 16)
    embeddings_ND[::3] = embeddings_ND[0]
    neighbours = top_neighbours([embeddings_ND], range(500), count=8, engine="cuda")
    expected = top_neighbours([embeddings_ND], range(500), count=8, engine="cpu")
    np.testing.assert_array_equal(neighbours.ids_QL, expected.ids_QL)
    np.testing.assert_array_equal(neighbours.similarities_QL, expected.similarities_QL)

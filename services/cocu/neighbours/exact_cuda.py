"""Exact search in tiles on a CUDA device; needs torch.

The device proposes rows: float16 products summed in float32 give the most similar rows of each tile. It then
computes the inner products of these rows in float64, where they are exact. A list is certain if its last
entry exceeds everything left out by more than the error of the products. The few uncertain lists (many
equal or nearly equal rows) are searched again on the CPU, so the results equal those of the CPU bit by bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch  # type: ignore[import-not-found, unused-ignore]

from cocu.neighbours.exact_cpu import rounding_bound
from cocu.neighbours.matrix import Float32s, Float64s, Ids, Rows

__all__ = ["available", "propose"]

SPARE = 16
"""The number of rows per tile proposed beyond the requested count, so that almost every list is certain."""

_GROUP = 64
_PROPOSALS_AT_ONCE = 1024
# Tensor cores may truncate where a processor rounds, which doubles the bound, and align sums to few extra
# bits.
_DEVICE_ROUNDING = 4.0


def available() -> bool:
    """Return whether torch sees a CUDA device."""
    return bool(torch.cuda.is_available())


def propose(
    rows: Rows,
    *,
    queries_QD: Float32s,
    own_Q: Ids,
    groups_N: Ids,
    ids_QL: Ids,
    exact_QL: Float64s,
    tile: int,
    device: str = "cuda",
) -> Ids:
    """Fill the lists of the queries in place, as `scan` does, and return the positions of uncertain lists.

    The content of uncertain lists is undefined. Any torch device works; other than on CUDA, products are
    computed in float32.
    """
    queries = torch.from_numpy(queries_QD).to(device)
    own = torch.from_numpy(own_Q).to(device)
    groups = torch.from_numpy(groups_N).to(device)
    ids = torch.from_numpy(ids_QL).to(device)
    exact = torch.from_numpy(exact_QL).to(device)
    left_out = torch.full((len(own_Q),), -torch.inf, dtype=torch.float64, device=device)
    for first_id, tile_TD in rows.tiles(tile):
        rows_TD = torch.from_numpy(tile_TD).to(device)
        for start in range(0, len(own_Q), _PROPOSALS_AT_ONCE):
            part = slice(start, start + _PROPOSALS_AT_ONCE)
            proposed, similarities, floor = _proposals(queries[part], rows_TD, ids.shape[1] + SPARE)
            ids[part], exact[part] = _merge(
                torch.cat([ids[part], proposed + first_id], 1),
                torch.cat([exact[part], similarities], 1),
                own[part],
                groups,
                ids.shape[1],
            )
            left_out[part] = torch.maximum(left_out[part], floor)
    ids_QL[:] = ids.cpu().numpy()
    exact_QL[:] = exact.cpu().numpy()
    uncertain = left_out + rounding_bound(rows.dim) * _DEVICE_ROUNDING >= exact[:, -1]
    return np.flatnonzero(uncertain.cpu().numpy()).astype(np.int64)


def _proposals(queries: Any, rows_TD: Any, count: int) -> tuple[Any, Any, Any]:
    """The most similar rows of a tile, ascending, their exact similarities, and a bound on the rows left
    out."""
    products = _products(queries, rows_TD)
    if count >= len(rows_TD):
        proposed = torch.arange(len(rows_TD), device=queries.device).expand(len(queries), -1)
        floor = torch.full((len(queries),), -torch.inf, dtype=torch.float64, device=queries.device)
    else:
        values, proposed = _largest(products, count)
        # No row left out exceeds the smallest proposal.
        floor = values[:, -1].double()
        proposed = proposed.sort(dim=1).values
    exact = torch.bmm(rows_TD[proposed].double(), queries.double().unsqueeze(2)).squeeze(2)
    return proposed, exact, floor


def _products(queries: Any, rows_TD: Any) -> Any:
    if queries.is_cuda:
        # The rows were read from float16, so converting them back loses nothing.
        return torch.mm(queries.half(), rows_TD.half().T, out_dtype=torch.float32)
    return queries @ rows_TD.T


def _largest(products: Any, count: int) -> tuple[Any, Any]:
    """Return what torch.topk returns, but examine only the groups of columns with the largest maxima.

    The `count` largest values of a row lie in the `count` groups with the largest maxima. Finding those
    groups reads the products once, and that read dominates the time.
    """
    columns = products.shape[1]
    whole = columns - columns % _GROUP
    if columns // _GROUP <= count:
        return tuple(products.topk(count, dim=1))
    grouped = products[:, :whole].unflatten(1, (-1, _GROUP))
    groups = grouped.amax(2).topk(count, dim=1).indices
    columns_of_groups = groups.unsqueeze(2) * _GROUP + torch.arange(_GROUP, device=products.device)
    remainder = torch.arange(whole, columns, device=products.device).expand(len(products), -1)
    candidates = torch.cat([columns_of_groups.flatten(1), remainder], 1)
    values, positions = products.gather(1, candidates).topk(count, dim=1)
    return values, candidates.gather(1, positions)


def _merge(ids: Any, exact: Any, own: Any, groups: Any, count: int) -> tuple[Any, Any]:
    """The `count` best of candidates sorted by id: one of each group, none of the query's own group."""
    exact, order = exact.sort(dim=1, descending=True, stable=True)
    ids = ids.gather(1, order)
    groups_of = torch.where(ids < 0, -1, groups[ids.clamp(min=0)])
    earlier = (groups_of.unsqueeze(2) == groups_of.unsqueeze(1)).tril(-1).any(2)
    excluded = (groups_of == own.unsqueeze(1)) | earlier | (ids < 0)
    exact = exact.masked_fill(excluded, -torch.inf)
    ids = ids.masked_fill(excluded, -1)
    exact, order = exact.sort(dim=1, descending=True, stable=True)
    return ids.gather(1, order)[:, :count], exact[:, :count]

"""The exact search in tiles on a CUDA device; needs torch.

The device proposes: float16 products summed in float32 give each tile's most similar rows, whose inner
products it then takes in float64, where they are exact. A list is certain when its last entry beats
everything that was left out by more than the products can be wrong. The few that are not certain (many
equal or nearly equal rows) are searched again on the CPU, so the results are those of the CPU to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch  # type: ignore[import-not-found, unused-ignore]

from cocu.neighbours.rows import Float32s, Float64s, Ids, Rows
from cocu.neighbours.scan import rounding_bound

__all__ = ["available", "propose"]

SPARE = 16
"""How many more rows than asked for are proposed per tile, to be certain of almost every list."""

_GROUP = 64
_PROPOSALS_AT_ONCE = 1024
# Tensor cores may cut off where a processor rounds, which doubles the bound, and align sums to few extra
# bits.
_DEVICE_ROUNDING = 4.0


def available() -> bool:
    """Whether torch sees a CUDA device."""
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
    """Fill the lists of the queries in place, as `scan` does, and return the positions of those not certain.

    The lists of those are then meaningless. Any torch device will do; where it is not CUDA, products are
    taken in float32.
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
            found, similarities, floor = _proposals(queries[part], rows_TD, ids.shape[1] + SPARE)
            ids[part], exact[part] = _merge(
                torch.cat([ids[part], found + first_id], 1),
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
    """The tile's most similar rows, ascending, their exact similarities, and a bound on what is left out."""
    products = _products(queries, rows_TD)
    if count >= len(rows_TD):
        found = torch.arange(len(rows_TD), device=queries.device).expand(len(queries), -1)
        floor = torch.full((len(queries),), -torch.inf, dtype=torch.float64, device=queries.device)
    else:
        values, found = _largest(products, count)
        # Nothing left out is above the smallest proposal.
        floor = values[:, -1].double()
        found = found.sort(dim=1).values
    exact = torch.bmm(rows_TD[found].double(), queries.double().unsqueeze(2)).squeeze(2)
    return found, exact, floor


def _products(queries: Any, rows_TD: Any) -> Any:
    if queries.is_cuda:
        # What was read from float16 goes back to it without loss.
        return torch.mm(queries.half(), rows_TD.half().T, out_dtype=torch.float32)
    return queries @ rows_TD.T


def _largest(products: Any, count: int) -> tuple[Any, Any]:
    """As torch.topk, but looks closely only at the groups of columns with the largest maxima.

    The `count` largest of a row lie in the `count` groups with the largest maxima, and finding those reads
    the products once, which is what the time goes into.
    """
    columns = products.shape[1]
    whole = columns - columns % _GROUP
    if columns // _GROUP <= count:
        return tuple(products.topk(count, dim=1))
    grouped = products[:, :whole].unflatten(1, (-1, _GROUP))
    chosen = grouped.amax(2).topk(count, dim=1).indices
    inside = chosen.unsqueeze(2) * _GROUP + torch.arange(_GROUP, device=products.device)
    rest = torch.arange(whole, columns, device=products.device).expand(len(products), -1)
    candidates = torch.cat([inside.flatten(1), rest], 1)
    values, places = products.gather(1, candidates).topk(count, dim=1)
    return values, candidates.gather(1, places)


def _merge(ids: Any, exact: Any, own: Any, groups: Any, count: int) -> tuple[Any, Any]:
    """The `count` best of candidates given by ascending id: one of each group, none of the query's own."""
    exact, order = exact.sort(dim=1, descending=True, stable=True)
    ids = ids.gather(1, order)
    of = torch.where(ids < 0, -1, groups[ids.clamp(min=0)])
    earlier = (of.unsqueeze(2) == of.unsqueeze(1)).tril(-1).any(2)
    out = (of == own.unsqueeze(1)) | earlier | (ids < 0)
    exact = exact.masked_fill(out, -torch.inf)
    ids = ids.masked_fill(out, -1)
    exact, order = exact.sort(dim=1, descending=True, stable=True)
    return ids.gather(1, order)[:, :count], exact[:, :count]

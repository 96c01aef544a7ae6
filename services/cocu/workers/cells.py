"""cells: splits a snapshot that is too large to search exactly, once, before its neighbours are found."""

from __future__ import annotations

import logging

import numpy as np

from cocu.neighbours.cells import Cells, cell_count, choose_probes, split_into_cells
from cocu.neighbours.rows import Rows
from cocu.neighbours.search import available_engine
from cocu.storage import arrays, paths
from cocu.workers.leases import Lease
from cocu.workers.neighbours import raw_count
from cocu.workers.snapshot import Snapshot

logger = logging.getLogger(__name__)

RECALL = 0.95
"""Of the true neighbours of a sample of rows, the share that the cells looked through must find."""

BAND = 65_536
"""Rows copied at once."""


def run(lease: Lease) -> None:
    """Writes the cells, the embeddings in their order, and how many cells a search must look through."""
    snapshot = Snapshot.of(lease.platform, lease.chunk.scope)
    objects, curation, threads = lease.platform.objects, snapshot.curation, lease.platform.settings.cores
    cells = split_into_cells(snapshot.embeddings, cells=cell_count(snapshot.samples), threads=threads)
    lease.advance(snapshot.samples // 3)
    _write_rows(lease, snapshot, cells)
    probing = choose_probes(
        cells,
        arrays.read_embeddings(objects, paths.cell_rows(curation.id)),
        snapshot.embeddings,
        count=raw_count(snapshot.parameters.neighbours),
        recall=RECALL,
        engine=available_engine(),
    )
    logger.info(
        "neighbours of %d samples: %d of %d cells each, %.1f %% of the rows, find %.4f of the true ones",
        snapshot.samples,
        probing.probes,
        len(cells),
        100 * probing.probes / len(cells),
        probing.recall,
    )
    arrays.write_arrays(
        objects,
        paths.cells(curation.id),
        {
            "centres_KD": cells.centres_KD,
            "ids_N": cells.ids_N,
            "offsets_K1": cells.offsets_K1,
            "probes": np.array([probing.probes]),
            "recall": np.array([probing.recall]),
        },
    )


def _write_rows(lease: Lease, snapshot: Snapshot, cells: Cells) -> None:
    rows = Rows(snapshot.embeddings)
    with lease.platform.objects.writing(paths.cell_rows(snapshot.curation.id)) as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (len(rows), rows.dim)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(rows), BAND):
            band_ND = rows.gather(cells.ids_N[start : start + BAND])
            file.write(band_ND.astype("<f2").tobytes())
            lease.advance(len(band_ND) // 3)

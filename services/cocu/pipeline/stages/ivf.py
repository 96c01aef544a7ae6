"""ivf: build the inverted file of a snapshot that is too large to search exactly."""

from __future__ import annotations

import logging

import numpy as np

from cocu.neighbours.exact import available_engine
from cocu.neighbours.ivf import IvfIndex, build, cell_count, choose_nprobe
from cocu.neighbours.matrix import Rows
from cocu.pipeline.context import CurationContext
from cocu.pipeline.lease import Lease
from cocu.pipeline.stages.neighbours import raw_count
from cocu.storage import arrays, checksums, paths

logger = logging.getLogger(__name__)

RECALL = 0.95
"""The share of the true neighbours of a sample of rows that a search must find."""

BAND = 65_536
"""The number of rows copied at once."""


def run(lease: Lease) -> None:
    """Write the cells, the embeddings in the order of the cells, and the number of cells to search."""
    context = CurationContext.of(lease.platform, lease.task.owner_key)
    objects, curation, threads = lease.platform.objects, context.curation, lease.platform.settings.cores
    index = build(context.embeddings, cells=cell_count(context.samples), threads=threads)
    lease.advance(context.samples // 3)
    _write_rows(lease, context, index)
    probing = choose_nprobe(
        index,
        arrays.read_embeddings(objects, paths.ivf_rows(curation.id)),
        context.embeddings,
        count=raw_count(context.parameters.neighbours),
        recall=RECALL,
        engine=available_engine(),
    )
    logger.info(
        "neighbours of %d samples: %d of %d cells each, %.1f %% of the rows, find %.4f of the true ones",
        context.samples,
        probing.nprobe,
        len(index),
        100 * probing.nprobe / len(index),
        probing.recall,
    )
    arrays.write_arrays(
        objects,
        paths.ivf_lists(curation.id),
        {
            "centres_KD": index.centres_KD,
            "ids_N": index.ids_N,
            "offsets_K1": index.offsets_K1,
            "probes": np.array([probing.nprobe]),
            "recall": np.array([probing.recall]),
        },
    )


def _write_rows(lease: Lease, context: CurationContext, index: IvfIndex) -> None:
    rows = Rows(context.embeddings)
    with lease.platform.objects.writing(paths.ivf_rows(context.curation.id)) as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (len(rows), rows.dim)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(rows), BAND):
            band_ND = rows.gather(index.ids_N[start : start + BAND])
            file.write(band_ND.astype("<f2").tobytes())
            lease.advance(len(band_ND) // 3)
        checksums.add(file, checksums.PLAIN)

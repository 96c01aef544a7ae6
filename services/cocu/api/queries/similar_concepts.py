"""The concepts nearest to one of a curation, as far as they are known without waiting."""

from __future__ import annotations

import logging

from cocu import schemas
from cocu.api.queries.concept_vectors import ConceptSpace, Query
from cocu.catalog.curations import CurationRecord
from cocu.errors import CocuError, InvalidInputError, UnavailableError

logger = logging.getLogger(__name__)


def find_similar(
    space: ConceptSpace, record: CurationRecord, concept: str, *, limit: int
) -> list[schemas.NearConcept] | None:
    """Return the concepts nearest to a concept in the encoder of a curation, with its frequencies.

    None while the embeddings of the vocabulary are computed, which this call starts and does not wait for,
    where this server does not have the encoder, and when the search fails: the concept is shown without them.
    """
    try:
        return space.near(
            tenant=record.tenant,
            vocabulary=record.vocabulary_id,
            encoder=record.encoder_hash,
            curation=record.id,
            query=Query(concept=concept),
            limit=limit,
            seconds=0.0,
        )
    except (UnavailableError, InvalidInputError):
        return None
    except CocuError as error:
        logger.warning("the concepts near %r are not known: %s", concept, error)
        return None

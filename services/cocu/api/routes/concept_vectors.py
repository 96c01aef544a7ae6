"""Concepts of a vocabulary by meaning: nearest concepts, merge candidates, gaps."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from cocu import schemas
from cocu.api.dependencies import ConceptSpaceOf, Tenant, VocabularyId
from cocu.api.pages import Cursor, Limit, make_page, read_cursor
from cocu.api.paths import MAX_KEY_LENGTH
from cocu.api.queries.concept_vectors import Query as Nearness

router = APIRouter(prefix="/v1/vocabularies", tags=["vocabularies"])

EncoderName = Annotated[
    str | None,
    Query(min_length=1, max_length=200, description="Name or hash; the server's default if omitted."),
]
Counted = Annotated[
    str | None,
    Query(max_length=64, description="A curation with this vocabulary, to add its frequencies."),
]
Similarity = Annotated[float, Query(ge=-1, le=1, allow_inf_nan=False, description="A cosine.")]


@router.get("/{vocabulary}/near")
def list_near_concepts(
    *,
    vocabulary: VocabularyId,
    space: ConceptSpaceOf,
    tenant: Tenant,
    encoder: EncoderName = None,
    text: Annotated[
        str | None, Query(min_length=1, max_length=2000, description="A word, phrase or sentence.")
    ] = None,
    concept: Annotated[
        str | None, Query(min_length=1, max_length=400, description="A concept, by its name or another form.")
    ] = None,
    dataset: Annotated[str | None, Query(max_length=64, description="Id of the sample's dataset.")] = None,
    sample: Annotated[
        str | None, Query(min_length=1, max_length=MAX_KEY_LENGTH, description="Key of a sample.")
    ] = None,
    curation: Counted = None,
    limit: Limit = 20,
) -> schemas.Page[schemas.NearConcept]:
    """List the concepts nearest to a text, to another concept, or to the image of a sample, nearest first.

    Give exactly one of text, concept, and dataset with sample. 503: the embeddings of the concepts are being
    computed; try again after Retry-After.
    """
    items = space.near(
        tenant=tenant,
        vocabulary=vocabulary,
        encoder=encoder,
        curation=curation,
        query=Nearness(text=text, concept=concept, dataset=dataset, sample=sample),
        limit=limit,
    )
    return schemas.Page[schemas.NearConcept](items=items)


@router.get("/{vocabulary}/merge-candidates")
def list_merge_candidates(
    *,
    vocabulary: VocabularyId,
    space: ConceptSpaceOf,
    tenant: Tenant,
    encoder: EncoderName = None,
    curation: Counted = None,
    min_similarity: Similarity = 0.9,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> schemas.Page[schemas.MergeCandidate]:
    """List pairs of concepts that are near in meaning and may be one, most similar first.

    Each concept is paired with its ten nearest. 503: the pairs are being computed; try again after
    Retry-After.
    """
    listing = f"merge candidates {vocabulary} {encoder} {min_similarity}"
    pairs = space.merge_candidates(
        tenant=tenant,
        vocabulary=vocabulary,
        encoder=encoder,
        curation=curation,
        min_similarity=min_similarity,
        limit=limit,
        after=read_cursor(listing, cursor),
    )
    return make_page(listing, pairs, lambda pair: pair, schemas.MergeCandidate)


@router.get("/{vocabulary}/gaps")
def list_gaps(
    *,
    vocabulary: VocabularyId,
    space: ConceptSpaceOf,
    tenant: Tenant,
    dataset: Annotated[str, Query(max_length=64, description="Id of the dataset whose captions are read.")],
    encoder: EncoderName = None,
    max_similarity: Similarity = 0.9,
    min_captions: Annotated[int, Query(ge=1, le=2**31, description="Fewest captions of a phrase.")] = 5,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> schemas.Page[schemas.Gap]:
    """List phrases of a dataset's captions that are far from every concept, most captions first.

    503: the gaps are being computed, which takes as long as mining a vocabulary; try again after Retry-After.
    """
    listing = f"gaps {vocabulary} {dataset} {encoder} {max_similarity} {min_captions}"
    gaps = space.gaps(
        tenant=tenant,
        vocabulary=vocabulary,
        encoder=encoder,
        dataset=dataset,
        max_similarity=max_similarity,
        min_captions=min_captions,
        limit=limit,
        after=read_cursor(listing, cursor),
    )
    return make_page(listing, gaps, lambda gap: gap, schemas.Gap)

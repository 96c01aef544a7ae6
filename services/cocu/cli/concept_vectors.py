"""`cocu vocabulary near`, `merge-candidates` and `gaps`: concepts by meaning."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from cocu.cli.failures import CommandFailedError
from cocu.cli.options import DEFAULT_SERVER, ApiKey, Json, Server
from cocu.cli.output import console, join_first, print_json, table
from cocu.cli.uploads import find_dataset
from cocu.client import CocuClient
from cocu.schemas import CountedConcept, NearConcept

VocabularyName = Annotated[str, typer.Argument(help="Id or name of the vocabulary.", show_default=False)]
EncoderName = Annotated[
    str | None, typer.Option(help="Name or hash of the encoder; the server's default if omitted.")
]
CountedBy = Annotated[
    str | None, typer.Option(help="Id of a curation with this vocabulary, to show its frequencies.")
]
MAX_FORMS = 6


def near(
    *,
    vocabulary: VocabularyName,
    text: Annotated[str | None, typer.Argument(help="A word or a phrase.", show_default=False)] = None,
    concept: Annotated[str | None, typer.Option(help="A concept of the vocabulary instead.")] = None,
    sample: Annotated[str | None, typer.Option(help="The key of a sample instead.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Id or name of the sample's dataset.")] = None,
    encoder: EncoderName = None,
    curation: CountedBy = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The most concepts to show.")] = 20,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """List the concepts nearest to a text, to another concept, or to the image of a sample."""
    if sum(value is not None for value in (text, concept, sample)) != 1:
        raise CommandFailedError("give exactly one of a text, --concept, and --sample with its --dataset")
    if (sample is None) != (dataset is None):
        raise CommandFailedError("give --sample and --dataset together: a key belongs to a dataset")
    with CocuClient(server, api_key) as client:
        concepts = client.vocabularies.near(
            vocabulary,
            text=text,
            concept=concept,
            dataset=None if dataset is None else find_dataset(client, dataset).id,
            sample=sample,
            encoder=encoder,
            curation=curation,
            limit=limit,
        )
    if json:
        print_json(concepts)
        return
    counted = curation is not None
    rows = [
        (escape(hit.name), f"{hit.similarity:.3f}", *_counts(hit, counted), escape(_forms(hit)))
        for hit in concepts
    ]
    counts = ("captions", "archives") if counted else ()
    console.print(table(None, ("concept", "similarity", *counts, "forms"), rows))


def merge_candidates(
    *,
    vocabulary: VocabularyName,
    min_similarity: Annotated[
        float, typer.Option(min=-1.0, max=1.0, help="Only pairs that are at least so similar.")
    ] = 0.9,
    encoder: EncoderName = None,
    curation: CountedBy = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="The most pairs to show.")] = 20,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """List pairs of concepts that are near in meaning, most similar first: they may be one."""
    with CocuClient(server, api_key) as client:
        candidates = client.vocabularies.merge_candidates(
            vocabulary, min_similarity=min_similarity, encoder=encoder, curation=curation, limit=limit
        )
        pairs = list(candidates)
    if json:
        print_json(pairs)
        return
    counted = curation is not None
    rows = [
        (
            f"{pair.similarity:.3f}",
            escape(pair.first.name),
            *_counts(pair.first, counted),
            escape(pair.second.name),
            *_counts(pair.second, counted),
        )
        for pair in pairs
    ]
    counts = ("captions", "archives") if counted else ()
    console.print(table(None, ("similarity", "concept", *counts, "and", *counts), rows))


def gaps(
    *,
    vocabulary: VocabularyName,
    dataset: Annotated[
        str, typer.Argument(help="Id or name of the dataset whose captions are read.", show_default=False)
    ],
    max_similarity: Annotated[
        float, typer.Option(min=-1.0, max=1.0, help="Only phrases at most so similar to any concept.")
    ] = 0.9,
    min_captions: Annotated[int, typer.Option(min=1, help="How many captions name it, at least.")] = 5,
    encoder: EncoderName = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The most phrases to show.")] = 20,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """List phrases of a dataset's captions that are far from every concept of a vocabulary."""
    with CocuClient(server, api_key) as client:
        phrases = client.vocabularies.gaps(
            vocabulary,
            find_dataset(client, dataset).id,
            max_similarity=max_similarity,
            min_captions=min_captions,
            encoder=encoder,
            limit=limit,
        )
        phrase_gaps = list(phrases)
    if json:
        print_json(phrase_gaps)
        return
    rows = [
        (escape(gap.phrase), gap.captions, escape(gap.nearest), f"{gap.similarity:.3f}")
        for gap in phrase_gaps
    ]
    console.print(table(None, ("phrase", "captions", "nearest concept", "similarity"), rows))


def _counts(concept: CountedConcept, counted: bool) -> tuple[str, ...]:
    return (f"{concept.captions or 0:,}", f"{concept.archives or 0:,}") if counted else ()


def _forms(concept: NearConcept) -> str:
    return join_first([form for form in concept.forms if form != concept.name], MAX_FORMS)

"""Streams of the tests' curation; imports torch."""

from __future__ import annotations

import torch
from tests.training.data.platforms import Served

from cocu_training.configuration import TrainingConfiguration
from cocu_training.data.stream import Samples, Stream
from cocu_training.data.texts import Texts

CONFIGURATION = TrainingConfiguration.tiny().with_(global_batch=8, concepts=3, augmentation="full")


def opened(served: Served, configuration: TrainingConfiguration = CONFIGURATION) -> Stream:
    return Stream(
        configuration,
        server=served.url,
        curation=served.curation,
        api_key=None,
        texts=Texts(served.tokenizer, configuration.context_length),
        device=torch.device("cpu"),
    )


def epoch_of(served: Served, configuration: TrainingConfiguration = CONFIGURATION) -> list[Samples]:
    """The first epoch."""
    with opened(served, configuration) as stream:
        return list(stream.samples(0, start=0))


def assert_equal(first: list[Samples], second: list[Samples]) -> None:
    assert [samples.number for samples in first] == [samples.number for samples in second]
    for sample, other in zip(first, second, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(sample[1:], other[1:], strict=True))

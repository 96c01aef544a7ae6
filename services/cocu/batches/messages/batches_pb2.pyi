# Made of proto/cocu/v1/batches.proto by proto/generate.py.
# fmt: off
# ruff: noqa
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Batch(_message.Message):
    __slots__ = ("epoch", "number", "samples")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    epoch: Epoch
    number: int
    samples: _containers.RepeatedCompositeFieldContainer[Sample]
    def __init__(self, epoch: _Optional[_Union[Epoch, _Mapping]] = ..., number: _Optional[int] = ..., samples: _Optional[_Iterable[_Union[Sample, _Mapping]]] = ...) -> None: ...

class Epoch(_message.Message):
    __slots__ = ("curation", "content_hash", "seed", "epoch", "samples", "batches", "global_batch", "rank", "world_size", "start")
    CURATION_FIELD_NUMBER: _ClassVar[int]
    CONTENT_HASH_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    GLOBAL_BATCH_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    WORLD_SIZE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    curation: str
    content_hash: str
    seed: int
    epoch: int
    samples: int
    batches: int
    global_batch: int
    rank: int
    world_size: int
    start: int
    def __init__(self, curation: _Optional[str] = ..., content_hash: _Optional[str] = ..., seed: _Optional[int] = ..., epoch: _Optional[int] = ..., samples: _Optional[int] = ..., batches: _Optional[int] = ..., global_batch: _Optional[int] = ..., rank: _Optional[int] = ..., world_size: _Optional[int] = ..., start: _Optional[int] = ...) -> None: ...

class Sample(_message.Message):
    __slots__ = ("key", "caption", "image", "format", "concepts", "concept_ids", "texts", "scores")
    KEY_FIELD_NUMBER: _ClassVar[int]
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    CONCEPTS_FIELD_NUMBER: _ClassVar[int]
    CONCEPT_IDS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    key: str
    caption: str
    image: bytes
    format: str
    concepts: _containers.RepeatedScalarFieldContainer[str]
    concept_ids: _containers.RepeatedScalarFieldContainer[int]
    texts: _containers.RepeatedScalarFieldContainer[str]
    scores: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, key: _Optional[str] = ..., caption: _Optional[str] = ..., image: _Optional[bytes] = ..., format: _Optional[str] = ..., concepts: _Optional[_Iterable[str]] = ..., concept_ids: _Optional[_Iterable[int]] = ..., texts: _Optional[_Iterable[str]] = ..., scores: _Optional[_Iterable[float]] = ...) -> None: ...

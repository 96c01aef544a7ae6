"""The wire models: what goes over HTTP, defined once for the server and for every client."""

from cocu.client.models.archives import Archive, ArchiveConcept, Neighbour, Origin
from cocu.client.models.common import Answer, FieldProblem, Health, Page, Problem, Request
from cocu.client.models.curations import (
    FINISHED,
    Curation,
    CurationCreate,
    CurationEvent,
    CurationState,
    Parameters,
    StageProgress,
)
from cocu.client.models.datasets import Dataset, DatasetCreate, Rejection, Report, Sample, Upload, UploadState
from cocu.client.models.evaluations import (
    CocoAnnotation,
    CocoCategory,
    CocoImage,
    CocoInstances,
    Evaluation,
    EvaluationCreate,
    Measurement,
)
from cocu.client.models.vocabularies import (
    Concept,
    Encoder,
    Overlap,
    Vocabulary,
    VocabularyCreate,
    VocabularyMined,
)

__all__ = [
    "FINISHED",
    "Answer",
    "Archive",
    "ArchiveConcept",
    "CocoAnnotation",
    "CocoCategory",
    "CocoImage",
    "CocoInstances",
    "Concept",
    "Curation",
    "CurationCreate",
    "CurationEvent",
    "CurationState",
    "Dataset",
    "DatasetCreate",
    "Encoder",
    "Evaluation",
    "EvaluationCreate",
    "FieldProblem",
    "Health",
    "Measurement",
    "Neighbour",
    "Origin",
    "Overlap",
    "Page",
    "Parameters",
    "Problem",
    "Rejection",
    "Report",
    "Request",
    "Sample",
    "StageProgress",
    "Upload",
    "UploadState",
    "Vocabulary",
    "VocabularyCreate",
    "VocabularyMined",
]

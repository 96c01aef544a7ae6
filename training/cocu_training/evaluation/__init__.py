"""Zero-shot segmentation: datasets in their published layouts, protocols, scores and previews.

from cocu_training import evaluation

dataset = evaluation.open_dataset("voc", "VOCdevkit/VOC2012")
result = evaluation.evaluate(model, "tokenizer.json", dataset, evaluation.find_protocol("voc"))
evaluation.print_evaluation(result)
evaluation.write_evaluation(result, "results/voc")
"""

from cocu_training.errors import DatasetError, EvaluationError
from cocu_training.evaluation.class_names import ClassNames, read_class_names
from cocu_training.evaluation.datasets import LabelledImage, SegmentationDataset
from cocu_training.evaluation.evaluate import Evaluation, Preview, evaluate
from cocu_training.evaluation.identity import weights_hash
from cocu_training.evaluation.layouts import LAYOUTS, open_dataset
from cocu_training.evaluation.protocols import PROTOCOLS, Protocol, find_protocol
from cocu_training.evaluation.report import evaluation_document, print_evaluation, write_evaluation
from cocu_training.evaluation.scoring import Confusion, Scores
from cocu_training.evaluation.threshold_sweep import Sweep, sweep_thresholds

__all__ = [
    "LAYOUTS",
    "PROTOCOLS",
    "ClassNames",
    "Confusion",
    "DatasetError",
    "Evaluation",
    "EvaluationError",
    "LabelledImage",
    "Preview",
    "Protocol",
    "Scores",
    "SegmentationDataset",
    "Sweep",
    "evaluate",
    "evaluation_document",
    "find_protocol",
    "open_dataset",
    "print_evaluation",
    "read_class_names",
    "sweep_thresholds",
    "weights_hash",
    "write_evaluation",
]

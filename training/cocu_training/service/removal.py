"""Removes the folders of deleted runs: at once, or when the service starts again."""

from __future__ import annotations

import logging
import shutil

from cocu_training.service.runs import Runs
from cocu_training.service.settings import ServiceSettings

log = logging.getLogger(__name__)


def remove_deleted(runs: Runs, settings: ServiceSettings) -> None:
    """Remove the folders of deleted runs; one that cannot be removed now is tried again later."""
    for run in runs.deleted():
        folder = settings.run_folder(run)
        try:
            if folder.exists():
                shutil.rmtree(folder)
        except OSError as error:
            log.warning("the folder of the deleted run %s is removed later: %s", run, error)
            continue
        runs.removed(run)

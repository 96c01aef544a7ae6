from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs.recipes import Recipe, follow, recipes, use

REPOSITORY = Path(__file__).parents[2]
RECIPES = recipes((REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8"))

PROGRAMS = {
    "A format of uploads": """
import base64, io, json
from pathlib import Path
from PIL import Image
from cocu.client.sources import parts
from cocu.formats.reading import open_reading
from cocu.schemas import UploadOptions
target = io.BytesIO()
Image.new("RGB", (40, 40), "red").save(target, "PNG")
row = {"key": "a", "caption": "a red square", "image": base64.b64encode(target.getvalue()).decode()}
Path("folder").mkdir()
Path("folder/pairs.ndjson").write_text(json.dumps(row) + '\\n{"no": 1}\\n')
[part] = parts(Path("folder"))
with open_reading(part.file) as reading:
    sample, rejection = reading.samples()
print(reading.format, sample.key, sample.caption, rejection.reason, UploadOptions(format="ndjson").format)
""",
    "A score": """
import numpy as np
from cocu.curation.archives import Candidates, Mentions
from cocu.curation.parameters import CurationParameters
from cocu.curation.ranking import rank
from cocu.schemas import Parameters
scores = rank(
    scoring=CurationParameters(scoring="similarity").scoring,
    candidates=Candidates(
        offsets_B1=np.array([0, 1]), concepts_C=np.array([0], np.int32),
        origin_offsets_C1=np.array([0, 1]), origins_O=np.array([-1], np.int32),
    ),
    mentions=Mentions(
        offsets_N1=np.array([0, 1]), concepts_M=np.array([0], np.int32), similarities_M=np.ones(1, np.float32)
    ),
    neighbours_BL=np.empty((1, 0), np.int64),
    images_BD=np.array([[0.6, 0.8]], np.float32),
    concepts_VD=np.array([[1.0, 0.0]], np.float32),
)
print(f"{scores.scores_C[0]:.2f}", Parameters(scoring="similarity").scoring)
""",
    "A stage": f"""
import sys
from pathlib import Path
sys.path.append({str(REPOSITORY)!r})
from tests.pipeline.pipeline_driver import TENANT, begin, drain, new_dataset, settings, some_samples
from cocu.pipeline import progress
from cocu.platform import Platform
from cocu.storage import paths
encoders = Path({str(REPOSITORY / "examples" / "encoders")!r})
with Platform.open(settings(Path("data"), encoders, samples_per_shard=5)) as platform:
    dataset = new_dataset(platform, some_samples(10))
    drain(platform)
    run = begin(platform, dataset)
    drain(platform)
    stages = progress.of_curation(platform.catalog, tenant=TENANT, curation_id=run.id)
    written = [path for path in platform.objects.list() if path.startswith(paths.archive_length(run.id, ""))]
print(*[(stage.stage, stage.done) for stage in stages if stage.stage == "lengths"], len(written))
""",
    "An encoder runtime": f"""
import numpy as np
from cocu.encoders.inprocess import open_encoder
from cocu.platform import Platform
from cocu.settings import Settings
bundle = {str(REPOSITORY / "examples" / "encoders" / "scenes")!r}
with Platform.open(Settings(data_folder="data", encoders_url=f"cuda://{{bundle}}")) as platform:
    encoder = platform.encoders.get()
    ours, theirs = (one.embed_texts(["a dog", "a red car"]) for one in (encoder, open_encoder(bundle)))
print(type(encoder).__name__, np.abs(ours - theirs).max() < 1e-5)
""",
    "An export": """
from types import SimpleNamespace
from typing import get_args
from cocu.exports import files
from cocu.exports.parameters import ExportParameters
from cocu.schemas import ExportFormat
row = {"key": "a", "caption": "a dog", "concepts": [{"concept": "dog"}, {"concept": "grass"}]}
shard = SimpleNamespace(samples=lambda: [(row, None, "")])
form = files._FORMS[ExportParameters(format="prompts").format]
line = b"".join(form.write(None, shard)).decode().strip().replace("\\t", "|")
print(line, form.media_type in files.MEDIA_TYPES, "prompts" in get_args(ExportFormat))
""",
}
EXPECTED = {
    "A format of uploads": "ndjson a a red square bad_row ndjson",
    "A score": "0.60 similarity",
    "A stage": "('lengths', 2) 2",
    "An encoder runtime": "TowerEncoder True",
    "An export": "a|a dog|dog, grass True True",
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_the_recipe_works_in_the_stated_number_of_files(recipe: Recipe, tmp_path: Path) -> None:
    assert len(recipe.files) == int(recipe.stated)
    follow(recipe, REPOSITORY, tmp_path)
    assert use(tmp_path, PROGRAMS[recipe.title]) == EXPECTED[recipe.title]


def test_the_page_has_every_recipe() -> None:
    assert set(RECIPES) == set(PROGRAMS)

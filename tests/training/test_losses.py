from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from cocu_training.losses import caption_loss, collision_rate, concept_loss


def unit(rows: list[list[float]]) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float64), dim=-1)


IMAGES = unit([[1, 0], [1, 1]])
CAPTIONS = unit([[2, 1], [0, 1]])
CONCEPTS = torch.stack([unit([[1, 0], [3, 1]]), unit([[0, 1], [1, 1]])])
SCALE = torch.tensor(10.0, dtype=torch.float64)


def test_the_worked_example() -> None:
    assert caption_loss(IMAGES, CAPTIONS, SCALE).item() == pytest.approx(0.875765, abs=1e-6)
    assert concept_loss(IMAGES, CONCEPTS, SCALE).item() == pytest.approx(0.719901, abs=1e-6)


def test_masking_changes_nothing_where_no_concept_is_shared() -> None:
    ids_BK = torch.tensor([[0, 1], [2, 3]])
    plain = concept_loss(IMAGES, CONCEPTS, SCALE)
    torch.testing.assert_close(concept_loss(IMAGES, CONCEPTS, SCALE, ids_BK=ids_BK), plain)
    assert collision_rate(ids_BK).item() == 0


def test_a_shared_concept_is_no_negative() -> None:
    shared = torch.tensor([[0, 1], [1, 2]])
    unlike = torch.tensor([[0, -1], [-1, 2]])
    masked = concept_loss(IMAGES, CONCEPTS, SCALE, ids_BK=shared)
    assert masked < concept_loss(IMAGES, CONCEPTS, SCALE)
    torch.testing.assert_close(
        concept_loss(IMAGES, CONCEPTS, SCALE, ids_BK=unlike), concept_loss(IMAGES, CONCEPTS, SCALE)
    )
    # By hand: image 0 does not see text 0 of image 1, nor image 1 text 1 of image 0; texts likewise.
    logits = (SCALE * IMAGES @ CONCEPTS.flatten(0, 1).T).clone()
    logits[0, 2] = logits[1, 1] = -torch.inf
    log = logits.log_softmax(1)
    from_images = -(log[0, :2].mean() + log[1, 2:].mean()) / 2
    texts = (SCALE * CONCEPTS.flatten(0, 1) @ IMAGES.T).clone()
    texts[1, 1] = texts[2, 0] = -torch.inf
    from_texts = torch.nn.functional.cross_entropy(texts, torch.tensor([0, 0, 1, 1]))
    torch.testing.assert_close(masked, (from_images + from_texts) / 2)
    # Four texts, one other image each: two of the pairs collide.
    assert collision_rate(shared).item() == pytest.approx(0.5)

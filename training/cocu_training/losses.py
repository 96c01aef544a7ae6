"""The two contrastive losses: images with their captions, and images with the concepts drawn for them.

Each rank computes the rows of its own images and texts against all columns; the mean over ranks is the loss
of the global batch. Source: GroupViT, section 3.2; CoCu, section 3.4.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cocu_training.distributed import all_gather_with_grad, first_row


def caption_loss(images_BE: Tensor, captions_BE: Tensor, scale: Tensor) -> Tensor:
    """Return the contrastive loss of images and captions, in both directions.

    images_BE, captions_BE: float [B, E] of unit norm, this rank's. scale: the factor of cosines.
    """
    targets_B = first_row(len(images_BE), images_BE.device) + torch.arange(
        len(images_BE), device=images_BE.device
    )
    from_images = functional.cross_entropy(scale * images_BE @ all_gather_with_grad(captions_BE).T, targets_B)
    from_captions = functional.cross_entropy(
        scale * captions_BE @ all_gather_with_grad(images_BE).T, targets_B
    )
    return (from_images + from_captions) / 2


def concept_loss(
    images_BE: Tensor, concepts_BKE: Tensor, scale: Tensor, *, ids_BK: Tensor | None = None
) -> Tensor:
    """Return the multi-label contrastive loss of images and the K texts of each, in both directions.

    images_BE, concepts_BKE: float of unit norm, this rank's. ids_BK: int64, the concept of each text; equal
    numbers mean the same concept, negative numbers equal no other. With ids_BK, a text of another image is no
    negative for an image that has a text of the same concept, and such an image is no negative for that text.
    Without ids_BK they are negatives, as published.
    """
    count, texts = concepts_BKE.shape[:2]
    first = first_row(count, images_BE.device)
    images_ME, concepts_MKE = all_gather_with_grad(images_BE), all_gather_with_grad(concepts_BKE)
    rows_B = first + torch.arange(count, device=images_BE.device)
    image_logits_BMK = scale * torch.einsum("be,mke->bmk", images_BE, concepts_MKE)
    text_logits_BKM = scale * torch.einsum("bke,me->bkm", concepts_BKE, images_ME)
    if ids_BK is not None:
        shared_BMK, present_BKM = _same_concepts(ids_BK, all_gather_with_grad(ids_BK), rows_B)
        image_logits_BMK = image_logits_BMK.masked_fill(shared_BMK, -torch.inf)
        text_logits_BKM = text_logits_BKM.masked_fill(present_BKM, -torch.inf)
    log_BMK = image_logits_BMK.flatten(1).log_softmax(dim=1).unflatten(1, image_logits_BMK.shape[1:])
    own_BK = log_BMK[torch.arange(count, device=rows_B.device), rows_B]
    from_images = -own_BK.mean()
    targets_BK = rows_B[:, None].expand(-1, texts)
    from_texts = functional.cross_entropy(text_logits_BKM.flatten(0, 1), targets_BK.flatten())
    return (from_images + from_texts) / 2


def collision_rate(ids_BK: Tensor) -> Tensor:
    """Return the share of pairs (text, other image of the batch) in which the image has the same concept."""
    ids_MK = all_gather_with_grad(ids_BK)
    rows_B = first_row(len(ids_BK), ids_BK.device) + torch.arange(len(ids_BK), device=ids_BK.device)
    _, present_BKM = _same_concepts(ids_BK, ids_MK, rows_B)
    pairs = ids_BK.numel() * (len(ids_MK) - 1)
    return present_BKM.sum() / max(pairs, 1)


def _same_concepts(ids_BK: Tensor, ids_MK: Tensor, rows_B: Tensor) -> tuple[Tensor, Tensor]:
    """Masks of texts of other images with a concept of the image [B, M, K], and of such images [B, K, M]."""
    equal_BKMJ = (ids_BK[:, :, None, None] == ids_MK[None, None]) & (ids_BK >= 0)[:, :, None, None]
    other_BM = torch.arange(len(ids_MK), device=rows_B.device) != rows_B[:, None]
    shared_BMK = equal_BKMJ.any(dim=1) & other_BM[:, :, None]
    present_BKM = equal_BKMJ.any(dim=3) & other_BM[:, None, :]
    return shared_BMK, present_BKM

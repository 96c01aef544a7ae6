"""GroupViT: pictures grouped into segments by text supervision alone (Xu et al., CVPR 2022)."""

from cocu_training.model.configuration import GroupViTConfiguration, ImageStage
from cocu_training.model.groupvit import Groups, GroupViT

__all__ = ["GroupViT", "GroupViTConfiguration", "Groups", "ImageStage"]

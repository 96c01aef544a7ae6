"""GroupViT: images grouped into segments by text supervision alone (Xu et al., CVPR 2022)."""

from cocu_training.model.groupvit import Groups, GroupViT
from cocu_training.model_configuration import GroupViTConfiguration, ImageStage

__all__ = ["GroupViT", "GroupViTConfiguration", "Groups", "ImageStage"]

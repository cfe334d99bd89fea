"""Networks: a batch of images in, one embedding an image out."""

from lab.nets.conv import ConvNet
from lab.nets.mlp import MLP

__all__ = ["MLP", "ConvNet"]

"""Networks: a batch of images in, one embedding an image out."""

from lab.nets.airbench import AirbenchNet
from lab.nets.conv import ConvNet, DeepConvNet
from lab.nets.koch import KochNet
from lab.nets.mlp import MLP, TwoLayerNet
from lab.nets.pretrained import Pretrained
from lab.nets.residual import ResidualNet

__all__ = ["MLP", "AirbenchNet", "ConvNet", "DeepConvNet", "KochNet", "Pretrained", "ResidualNet", "TwoLayerNet"]

"""Losses, and the index tuples they are computed from."""

from lab.losses.contrastive import ContrastiveLoss, ExponentialLoss, PairCrossEntropy
from lab.losses.prototypical import PrototypicalLoss
from lab.losses.squared import SquaredError
from lab.losses.triplet import TripletLoss

__all__ = ["ContrastiveLoss", "ExponentialLoss", "PairCrossEntropy", "PrototypicalLoss", "SquaredError", "TripletLoss"]

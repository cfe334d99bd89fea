"""Losses on a batch of embeddings and labels, and the index tuples they are computed from."""

from lab.losses.triplet import TripletLoss

__all__ = ["TripletLoss"]

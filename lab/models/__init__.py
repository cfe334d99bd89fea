"""Model families: what is made of an encoder, and how it is trained and scored."""

from lab.models.base import Family
from lab.models.checkpoint import check_checkpoint, check_frozen, check_resume, load, read_checkpoint
from lab.models.classifier import Classifier
from lab.models.needs import check_needs
from lab.models.rehearsal import rehearse
from lab.models.schedule import check_learning_rate
from lab.models.siamese import Siamese
from lab.models.split_image import SplitImage
from lab.models.start import load_encoder_from, load_weights_from
from lab.models.triplet import Triplet

__all__ = [
    "Classifier",
    "Family",
    "Siamese",
    "SplitImage",
    "Triplet",
    "check_checkpoint",
    "check_frozen",
    "check_learning_rate",
    "check_needs",
    "check_resume",
    "load",
    "load_encoder_from",
    "load_weights_from",
    "read_checkpoint",
    "rehearse",
]

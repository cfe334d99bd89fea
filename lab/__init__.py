"""Learning from small images: a model family, a network, a loss and a data set are four independent choices."""

__version__ = "0.1.0"

"""A page on this machine on which a trained model is tried with pictures of one's own."""

from lab.demo.command import demo

__all__ = ["demo"]

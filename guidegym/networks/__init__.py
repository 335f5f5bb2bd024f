"""Neural networks and nothing else: U-Net, classifier encoders, and the file format of their weights."""

from guidegym.networks.classifiers import Judge, RobustClassifier, TimeDependentClassifier
from guidegym.networks.unet import UNet
from guidegym.networks.weights import load_network, save_network

__all__ = ["Judge", "RobustClassifier", "TimeDependentClassifier", "UNet", "load_network", "save_network"]

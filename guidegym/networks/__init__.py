"""Neural networks: U-Net, classifier encoders, judges, and the file format of their weights."""

from guidegym.networks.class_centres import max_mahalanobis_means
from guidegym.networks.classifiers import MaxMahalanobisClassifier, OffTheShelfClassifier
from guidegym.networks.judges import DepthwiseJudge, Judge, MixerJudge, ResidualJudge
from guidegym.networks.time_dependent import TimeDependentClassifier
from guidegym.networks.unet import UNet
from guidegym.networks.weights import load_network, network_digest, save_network

__all__ = [
    "DepthwiseJudge",
    "Judge",
    "MaxMahalanobisClassifier",
    "MixerJudge",
    "OffTheShelfClassifier",
    "ResidualJudge",
    "TimeDependentClassifier",
    "UNet",
    "load_network",
    "max_mahalanobis_means",
    "network_digest",
    "save_network",
]

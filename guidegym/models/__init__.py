"""Models: what is sampled and guided, and how models of other libraries become ones."""

from guidegym.models.classifier_of_images import ImageClassifier, image_classifier
from guidegym.models.model import Model
from guidegym.models.robust_checkpoint import load_robust_classifier

__all__ = ["ImageClassifier", "Model", "image_classifier", "load_robust_classifier"]

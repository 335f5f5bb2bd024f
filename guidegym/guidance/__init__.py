"""Guides, scores, degrees, schedules, and the Guidance record that is searched, saved and replayed."""

from guidegym.guidance.asking import (
    Asked,
    Classifier,
    ConditionalNetwork,
    Cost,
    Denoiser,
    Guided,
    Networks,
    Score,
    gradient_of,
)
from guidegym.guidance.classifier_free import ClassifierFree, diffusers_scale, weight_of_diffusers_scale
from guidegym.guidance.curves import Knots, Table
from guidegym.guidance.degree import (
    InitialDegree,
    LabelSmoothing,
    OneHot,
    Similarity,
    Uniform,
    advance_degree,
    rate_of_gamma,
    step_gamma,
)
from guidegym.guidance.guidance import DENOISER, ONE_HOT, Guidance
from guidegym.guidance.guides import ClassEnergy, ClassifierGuide, EnergyDivergence, Guide, JointEnergy, Likelihood
from guidegym.guidance.named import make_degree, make_guide, make_score
from guidegym.guidance.policy import ActionScale, Policy
from guidegym.guidance.schedules import Constant, Cosine, Exponential, Linear, Power, Schedule, Sigmoid
from guidegym.guidance.scores import ClassifierScore, ConditionalDenoiser, UnconditionalDenoiser
from guidegym.guidance.stages import Interval, NoiseInterval, Stages
from guidegym.guidance.wrapping import Accumulated, AtClean, EntropyScaled, LookAhead, Momentum, Normalised

__all__ = [
    "DENOISER",
    "ONE_HOT",
    "Accumulated",
    "ActionScale",
    "Asked",
    "AtClean",
    "ClassEnergy",
    "Classifier",
    "ClassifierFree",
    "ClassifierGuide",
    "ClassifierScore",
    "ConditionalDenoiser",
    "ConditionalNetwork",
    "Constant",
    "Cosine",
    "Cost",
    "Denoiser",
    "EnergyDivergence",
    "EntropyScaled",
    "Exponential",
    "Guidance",
    "Guide",
    "Guided",
    "InitialDegree",
    "Interval",
    "JointEnergy",
    "Knots",
    "LabelSmoothing",
    "Likelihood",
    "Linear",
    "LookAhead",
    "Momentum",
    "Networks",
    "NoiseInterval",
    "Normalised",
    "OneHot",
    "Policy",
    "Power",
    "Schedule",
    "Score",
    "Sigmoid",
    "Similarity",
    "Stages",
    "Table",
    "UnconditionalDenoiser",
    "Uniform",
    "advance_degree",
    "diffusers_scale",
    "gradient_of",
    "make_degree",
    "make_guide",
    "make_score",
    "rate_of_gamma",
    "step_gamma",
    "weight_of_diffusers_scale",
]

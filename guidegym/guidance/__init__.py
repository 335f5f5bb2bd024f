"""Guides, base models, target distributions, schedules, and the Guidance record that is searched, saved and replayed."""

from guidegym.guidance.base_models import ClassifierScore, ConditionalDenoiser, UnconditionalDenoiser
from guidegym.guidance.carried import Carried, same_times
from guidegym.guidance.classifier_free import ClassifierFree, diffusers_scale, weight_of_diffusers_scale
from guidegym.guidance.curves import Knots, Table
from guidegym.guidance.found_for import FoundFor
from guidegym.guidance.guidance import DENOISER, ONE_HOT, Guidance
from guidegym.guidance.guide import (
    BaseModel,
    Classifier,
    ConditionalNetwork,
    Cost,
    Denoiser,
    GuideInput,
    GuideOutput,
    Networks,
    gradient_of,
    unguided,
)
from guidegym.guidance.guides import ClassEnergy, ClassifierGuide, EnergyDivergence, Guide, JointEnergy, Likelihood
from guidegym.guidance.named import make_base_model, make_guide, make_target
from guidegym.guidance.policy import ActionScale, Policy
from guidegym.guidance.schedules import Constant, Cosine, Exponential, Linear, Power, Schedule, Sigmoid
from guidegym.guidance.stages import Interval, NoiseInterval, Stages
from guidegym.guidance.targets import (
    LabelSmoothing,
    OneHot,
    Similarity,
    TargetDistribution,
    Uniform,
    advance_target,
    rate_of_gamma,
    step_gamma,
)
from guidegym.guidance.wrappers import Accumulated, AtClean, EntropyScaled, LookAhead, Momentum, Normalised

__all__ = [
    "DENOISER",
    "ONE_HOT",
    "Accumulated",
    "ActionScale",
    "AtClean",
    "BaseModel",
    "Carried",
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
    "FoundFor",
    "Guidance",
    "Guide",
    "GuideInput",
    "GuideOutput",
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
    "Sigmoid",
    "Similarity",
    "Stages",
    "Table",
    "TargetDistribution",
    "UnconditionalDenoiser",
    "Uniform",
    "advance_target",
    "diffusers_scale",
    "gradient_of",
    "make_base_model",
    "make_guide",
    "make_target",
    "rate_of_gamma",
    "same_times",
    "step_gamma",
    "unguided",
    "weight_of_diffusers_scale",
]

"""The functional core: arrays in, positions out. Imports nothing from the rest of labelwise but ``errors``.

Pure functions on tensors; NumPy arrays and memory maps are wrapped without a copy, half precision is read in blocks,
and the same code runs on CUDA tensors where they lie. Randomness comes only from the generator called ``rng``. Higher
score = more wanted.
"""

from labelwise.select.arrays import ArrayLike, as_tensor, squared_norms
from labelwise.select.clustering import KMeans, kmeans, kmeans_picks, medoids
from labelwise.select.cover import cover_radius, k_center
from labelwise.select.draws import Draws, bald, mean_std, predictive_entropy, predictive_variance, variation_ratio
from labelwise.select.ranking import take_top
from labelwise.select.reduction import fill_empty, reduce_present, reduce_units
from labelwise.select.sampling import perturb, stratified, uniform
from labelwise.select.seeding import plus_plus
from labelwise.select.uncertainty import entropy, least_confidence, margin

__all__ = [
    "ArrayLike",
    "Draws",
    "KMeans",
    "as_tensor",
    "bald",
    "cover_radius",
    "entropy",
    "fill_empty",
    "k_center",
    "kmeans",
    "kmeans_picks",
    "least_confidence",
    "margin",
    "mean_std",
    "medoids",
    "perturb",
    "plus_plus",
    "predictive_entropy",
    "predictive_variance",
    "reduce_present",
    "reduce_units",
    "squared_norms",
    "stratified",
    "take_top",
    "uniform",
    "variation_ratio",
]

"""The functional core: arrays in, positions out. Imports nothing from the rest of labelwise but ``errors``.

Pure functions on tensors; NumPy arrays and memory maps are wrapped without a copy, half precision is read in blocks,
and the same code runs on CUDA tensors where they lie. Randomness comes only from the generator called ``rng``. Higher
score = more wanted.
"""

from labelwise.selection.arrays import ArrayLike, as_tensor, squared_norms
from labelwise.selection.clustering import KMeans, kmeans, kmeans_picks, medoids
from labelwise.selection.cover import cover_radius, k_center
from labelwise.selection.draws import Draws, bald, mean_std, predictive_entropy, predictive_variance, variation_ratio
from labelwise.selection.ranking import take_top
from labelwise.selection.reduction import fill_empty, reduce_present, reduce_units
from labelwise.selection.sampling import perturb, stratified, uniform
from labelwise.selection.seeding import plus_plus
from labelwise.selection.uncertainty import entropy, least_confidence, margin

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

"""The functional core: arrays in, positions out. Imports nothing from the rest of labelwise but ``errors``.

Pure functions on tensors; NumPy arrays and memory maps are wrapped without a copy, half precision is read in blocks,
and the same code runs on CUDA tensors where they lie. Randomness comes only from the generator called ``rng``. Higher
score = more wanted.
"""

from labelwise.selection.arrays import ArrayLike, as_tensor, squared_norms
from labelwise.selection.balls import prob_cover, purity_radius
from labelwise.selection.bisection import galaxy
from labelwise.selection.clustering import KMeans, Search, kmeans, kmeans_picks, medoids
from labelwise.selection.cover import cover_radius, k_center
from labelwise.selection.coverage import greedy_coverage, mean_coverage
from labelwise.selection.draws import Draws, bald, mean_std, predictive_entropy, predictive_variance, variation_ratio
from labelwise.selection.dropout import disagreements, dropout_picks
from labelwise.selection.fisher import Form, bait
from labelwise.selection.information import batch_bald
from labelwise.selection.mixing import class_means, flip_sizes, spread_flips
from labelwise.selection.neighbours import Graph, Neighbours, nearest, within
from labelwise.selection.ranking import take_top
from labelwise.selection.reduction import fill_empty, reduce_present, reduce_units
from labelwise.selection.sampling import perturb, stratified, uniform
from labelwise.selection.seeding import plus_plus
from labelwise.selection.similarity import Cosine, Gaussian
from labelwise.selection.typicality import typical_picks
from labelwise.selection.uncertainty import entropy, least_confidence, margin

__all__ = [
    "ArrayLike",
    "Cosine",
    "Draws",
    "Form",
    "Gaussian",
    "Graph",
    "KMeans",
    "Neighbours",
    "Search",
    "as_tensor",
    "bait",
    "bald",
    "batch_bald",
    "class_means",
    "cover_radius",
    "disagreements",
    "dropout_picks",
    "entropy",
    "fill_empty",
    "flip_sizes",
    "galaxy",
    "greedy_coverage",
    "k_center",
    "kmeans",
    "kmeans_picks",
    "least_confidence",
    "margin",
    "mean_coverage",
    "mean_std",
    "medoids",
    "nearest",
    "perturb",
    "plus_plus",
    "predictive_entropy",
    "predictive_variance",
    "prob_cover",
    "purity_radius",
    "reduce_present",
    "reduce_units",
    "spread_flips",
    "squared_norms",
    "stratified",
    "take_top",
    "typical_picks",
    "uniform",
    "variation_ratio",
    "within",
]

"""Signals: one quantity per item, computed batch by batch on the device, small enough to keep.

Three kinds, one registry: ``Plain`` (a pure function of ``Outputs``), ``Draw`` (a fold over stochastic passes) and
``Probe`` (given the model itself). A module dropped into this folder is registered.
"""

from labelwise.contracts.passes import Dropout, Members, Passes, Views
from labelwise.contracts.signal import Draw, Plain, Probe, ProbeContext, Ragged, Signal, SignalTable
from labelwise.registry import Registry
from labelwise.signals.plain import Embedding, HeadOutput, HiddenLoss, Logits, PredictedClass, Probs, Uncertainty
from labelwise.signals.units import Units, UnitUncertainty

#: all signals by name
SIGNALS: Registry[Signal] = Registry("signal", "labelwise.signals", Signal)

__all__ = [
    "SIGNALS",
    "Draw",
    "Dropout",
    "Embedding",
    "HeadOutput",
    "HiddenLoss",
    "Logits",
    "Members",
    "Passes",
    "Plain",
    "PredictedClass",
    "Probe",
    "ProbeContext",
    "Probs",
    "Ragged",
    "Signal",
    "SignalTable",
    "Uncertainty",
    "UnitUncertainty",
    "Units",
    "Views",
]

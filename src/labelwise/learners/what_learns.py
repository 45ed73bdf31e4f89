"""Which parts of a network learn in a phase, and in which mode the others are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from labelwise.contracts.learner import Phase
from labelwise.errors import ConfigError


def choose(model: nn.Module, phase: Phase, learns: Mapping[str, bool]) -> None:
    """Frees what a phase trains and freezes the rest.

    Args:
        model: what is trained.
        phase: names parts by the beginnings of parameter names.
        learns: for each parameter, whether the network itself lets it learn.

    Raises:
        ConfigError: ``frozen`` names what is not there.
    """
    named = (*phase.trainable, *(prefix for prefix, _ in phase.rates))
    check_prefixes(model, "frozen", phase.frozen)
    for own, parameter in model.named_parameters():
        name = called(model, own)
        asked = not phase.trainable or name.startswith(phase.trainable)
        free = learns[own] or name.startswith(named)
        parameter.requires_grad_(free and asked and not name.startswith(phase.frozen))


def called(model: nn.Module, name: str) -> str:
    """What phases call a parameter: its name, or what the network calls that part of it (``model.aliases``)."""
    aliases: Mapping[str, str] = getattr(model, "aliases", {})
    prefix = next((prefix for prefix in aliases if name.startswith(prefix)), None)
    return name if prefix is None else aliases[prefix] + name.removeprefix(prefix)


def check_learning(model: nn.Module, phase: Phase) -> None:
    """Refuses a phase in which nothing learns.

    Raises:
        ConfigError: with the parts of the model.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        check_prefixes(model, "trainable", phase.trainable)
        raise ConfigError("nothing of the model learns: name less in frozen, or a part that learns in trainable")


def in_training_mode(step: nn.Module) -> None:
    """Training mode, but for parts of which nothing learns: their running statistics stay, and their dropout rests."""
    step.train()
    for module in step.modules():
        free = [parameter.requires_grad for parameter in module.parameters()]
        if free and not any(free):
            module.eval()


def check_prefixes(model: nn.Module, key: str, prefixes: Sequence[str]) -> None:
    """Refuses a prefix that no parameter has.

    Raises:
        ConfigError: with the parts of the model.
    """
    names = [called(model, name) for name, _ in model.named_parameters()]
    stray = [prefix for prefix in prefixes if not any(name.startswith(prefix) for name in names)]
    if stray:
        raise no_such_part(model, key, stray[0])


def no_such_part(model: nn.Module, key: str, prefix: str) -> ConfigError:
    """A prefix that names nothing, or nothing that is left to name; with the parts of the model."""
    parts = sorted({called(model, name).split(".")[0] for name, _ in model.named_parameters()})
    return ConfigError(f"{key}: no parameter starts with {prefix!r}: the model's parts are {', '.join(parts)}")

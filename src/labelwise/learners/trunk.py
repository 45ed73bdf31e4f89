"""What a network computes before its first dropout mask: the same in every draw, so once for a batch is enough."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

#: bytes that may be kept of a batch
_MOST = 1 << 30


class Trunk:
    """Modules that are done before the first mask of a pass; from the second pass on they answer from memory.

    Exact: a module counts that runs once a pass and ends before any of ``masked`` does, so that no mask can have
    touched what it gives. Of modules within one another the outermost is kept, unless somebody listens to an inner one.
    Copies are handed out, as the layers behind may write into what they get. Everything else runs again.

    Args:
        model: whose passes are made, on one and the same batch.
        masked: modules that masks are put on.
        most: bytes that may be kept; the largest outputs, mostly those of the first and cheapest layers, go first.

    Cost: memory of the kept outputs of one batch, and of a copy of each. A net whose only dropout stands before its
        last layer makes any number of draws in little more than the time of one.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Linear(4, 2)).eval()
        >>> trunk, images = Trunk(net, [net[1]]), torch.ones(2, 3)
        >>> with trunk.one_pass():
        ...     first = net(images)
        >>> with trunk.one_pass():
        ...     again = net(images)
        >>> torch.equal(first, again), trunk.kept
        (True, ['0', '1'])
    """

    def __init__(self, model: nn.Module, masked: Iterable[nn.Module], most: int = _MOST) -> None:
        # a compiled network knows of no hooks: there everything runs
        whole = not any(map(_compiled, model.modules()))
        self._names = {module: name for name, module in model.named_modules() if name and whole}
        self._masked = set(masked)
        self._most = most
        self._outputs: dict[nn.Module, Any] | None = None

    @property
    def kept(self) -> list[str]:
        """Paths of the modules that answer from memory; [] before the first pass."""
        return [self._names[module] for module in self._outputs or {}]

    @contextmanager
    def one_pass(self) -> Iterator[None]:
        """The first time it looks what there is to keep, then it keeps it from running."""
        if self._outputs is None:
            with self._recorded() as outputs:
                yield
            self._outputs = outputs
        else:
            with ExitStack() as stack:
                for module, output in self._outputs.items():
                    stack.enter_context(_answering(module, output))
                yield

    @contextmanager
    def _recorded(self) -> Iterator[dict[nn.Module, Any]]:
        calls: Counter[nn.Module] = Counter()
        outputs: dict[nn.Module, Any] = {}
        reached = False

        def done(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            nonlocal reached
            calls[module] += 1
            if not reached and _copyable(output) and not _overheard(module):
                for inner in module.modules():
                    outputs.pop(inner, None)
                # as it is now: layers behind may write into it
                outputs[module] = _copied(output)
                while sum(map(_size, outputs.values())) > self._most:
                    del outputs[max(outputs, key=lambda kept: _size(outputs[kept]))]
            reached = reached or module in self._masked

        handles = [module.register_forward_hook(done) for module in self._names]
        try:
            yield outputs
        finally:
            for handle in handles:
                handle.remove()
        for module in [module for module in outputs if calls[module] > 1]:
            del outputs[module]


@contextmanager
def _answering(module: nn.Module, output: Any) -> Iterator[None]:
    """The module gives a copy of ``output``; its hooks run as ever."""
    own = module.__dict__.get("forward")
    module.forward = lambda *args, **kwargs: _copied(output)
    try:
        yield
    finally:
        del module.forward
        if own is not None:
            module.forward = own


def _overheard(module: nn.Module) -> bool:
    """Whether anybody else listens to a module within this one: it has to run then."""
    inner = (other for other in module.modules() if other is not module)
    return any(len(other._forward_hooks) > 1 or other._forward_pre_hooks for other in inner)


def _compiled(module: nn.Module) -> bool:
    return isinstance(module, torch.jit.ScriptModule) or type(module).__module__.startswith("torch._dynamo")


def _copyable(output: Any) -> bool:
    if type(output) in (list, tuple):
        return all(map(_copyable, output))
    if type(output) in (dict, OrderedDict):
        return all(map(_copyable, output.values()))
    return isinstance(output, Tensor)


def _size(output: Any) -> int:
    """Bytes."""
    if isinstance(output, Tensor):
        return output.nbytes
    return sum(map(_size, output.values() if isinstance(output, dict) else output))


def _copied(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.clone()
    if isinstance(output, dict):
        return type(output)((key, _copied(value)) for key, value in output.items())
    return type(output)(map(_copied, output))

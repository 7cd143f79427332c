"""A stand-in for a graphics card where there is none: inside `card()`, `device="cuda"` works.

Its tensors are the CPU's, marked, and everything is computed on the CPU to the same bits. But an operation on a marked
tensor and one that is not fails, as between a card and the CPU, and so does numpy's reading of a marked one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

NAME = "cuda:0"
MOVES = ("to", "cpu", "cuda")
OF_MODULES = ("_parse_to", "_has_compatible_shallow_copy_type")
"""What a module's `to` asks before it moves anything."""


class OnCard(Tensor):
    """A tensor said to be on the card; outside the stand-in operations lose the mark."""

    __torch_function__ = torch._C._disabled_torch_function_impl


class Card(TorchFunctionMode):
    """Sees every call of torch, the methods and attributes of tensors among them."""

    operations = 0
    """How many have run on the card."""

    def __torch_function__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        """Runs `function` on the CPU, and marks what would be on the card."""
        given, named, name = tuple(given), dict(named or {}), getattr(function, "__name__", "")
        if name in OF_MODULES:
            return function(*given, **named)
        tensors = [value for value in tree_flatten((given, named))[0] if isinstance(value, Tensor)]
        marked = any(isinstance(tensor, OnCard) for tensor in tensors)
        attribute = getattr(getattr(function, "__self__", None), "__name__", "") if name == "__get__" else ""
        if marked and attribute in ("device", "is_cuda"):
            return {"device": torch.device(NAME), "is_cuda": True}[attribute]
        if marked and name in ("numpy", "__array__"):
            raise TypeError(f"numpy cannot read a tensor on {NAME}")
        if marked and name not in MOVES:
            self.operations += 1
            for tensor in tensors:
                # A single number may come from anywhere.
                if tensor.dim() and not isinstance(tensor, OnCard):
                    raise RuntimeError(f"{name}: a tensor of shape {tuple(tensor.shape)} is not on {NAME}")
        places = [named.get("device"), *(given[1:] if name in MOVES else ())]
        on_card = (marked or any(map(_is_card, places))) and not (name == "cpu" or any(map(_is_cpu, places)))
        result = function(*tree_map(_bare, given), **tree_map(_bare, named))
        kind = OnCard if on_card else Tensor
        result = tree_map(lambda value: value.as_subclass(kind) if isinstance(value, Tensor) else value, result)
        if name == "__deepcopy__" and isinstance(given[0], Parameter):
            result._is_param = True
        return result


def _is_card(place: Any) -> bool:
    return isinstance(place, OnCard) or (isinstance(place, str | torch.device) and str(place) in ("cuda", NAME))


def _is_cpu(place: Any) -> bool:
    return isinstance(place, str | torch.device) and str(place) == "cpu"


def _bare(value: Any) -> Any:
    """What the CPU's torch is to see in place of `value`."""
    if isinstance(value, OnCard):
        return value.as_subclass(Tensor)
    return torch.device("cpu") if _is_card(value) else value


@contextmanager
def card() -> Iterator[Card]:
    """The stand-in, until the end of the context."""
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    # A module that is moved otherwise keeps its parameters and takes the values alone, without their mark.
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with torch.no_grad(), Card() as stand_in:
            yield stand_in
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)

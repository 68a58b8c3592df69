"""Models without memory: names, shapes and kinds of numbers, before a byte is set aside for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


@contextmanager
def outlined() -> Iterator[None]:
    """Models that are built inside lie on the device "meta" and are not filled with anything."""
    with torch.device("meta"), _Unfilled():
        yield


_FILLING = {Tensor.normal_, Tensor.uniform_, Tensor.erfinv_, Tensor.clamp_}
"""What weights are drawn with where it is not torch.nn.init; it has no effect here, and takes most of the time."""


class _Unfilled(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else named["tensor"]
        if func in _FILLING:
            return args[0]
        if func is torch.linspace:  # earlier versions of timm read the rates of stochastic depth out of one
            named["device"] = "cpu"
        return func(*args, **named)

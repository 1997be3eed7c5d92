"""What a number inside a net has read: its receptive field and stride on the image, and how many weighted layers deep.

r_out = r_in + (k - 1) d s_in and s_out = s_in s (Araujo et al. 2019, distill.pub/2019/computing-receptive-fields,
equation 2), followed operation by operation as they are dispatched, so any module will do; where branches meet, the
largest counts. Padding is not cut off: a field may be larger than the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Field", "Following"]

aten = torch.ops.aten
Pair = tuple[int, int]


class Field(NamedTuple):
    """`size` and `stride` in pixels (height, width), None where no rule is known; `depth` in weighted layers."""

    size: Pair | None
    stride: Pair | None
    depth: int


class Following(TorchDispatchMode):
    """Follows fields from `images` through all that is computed while it is entered."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        # Tensors are kept, or their ids would be given to others; on the meta device that costs nothing.
        self._known: dict[int, tuple[Tensor, Field]] = {}
        self._set(images, Field((1, 1), (1, 1), 0))

    def of(self, tensor: Tensor) -> Field | None:
        """The field of a tensor; None when it does not depend on the images."""
        found = self._known.get(id(tensor))
        return found[1] if found else None

    def _set(self, tensor: Tensor, field: Field) -> None:
        self._known[id(tensor)] = tensor, field

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Compute, and note what was read."""
        answer = func(*args, **(kwargs or {}))
        inputs = [tensor for tensor in _tensors(args) if id(tensor) in self._known]
        if inputs:
            fields = [self._known[id(tensor)][1] for tensor in inputs]
            for output in _tensors(answer if isinstance(answer, tuple | list) else [answer]):
                self._set(output, _after(func.overloadpacket, args, inputs, _joined(fields), output))
        return answer


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _tensors(value)


def _joined(fields: Sequence[Field]) -> Field:
    depth = max(field.depth for field in fields)
    sizes, strides = [field.size for field in fields], [field.stride for field in fields]
    return Field(_largest(sizes), _largest(strides), depth)


def _largest(pairs: Sequence[Pair | None]) -> Pair | None:
    known = [pair for pair in pairs if pair is not None]
    return (max(h for h, _ in known), max(w for _, w in known)) if len(known) == len(pairs) else None


def _after(operation: Any, args: Sequence[Any], inputs: Sequence[Tensor], field: Field, output: Tensor) -> Field:
    rule = _RULES.get(operation)
    if rule is not None:
        return rule(args, field, output)
    image = next((tensor for tensor in inputs if tensor.dim() == 4), None)
    if image is not None and output.dim() <= 2:  # flattened: a vector that holds the whole map
        return _windowed(field, image.shape[2:], image.shape[2:])
    if image is not None and output.dim() == 4 and output.shape[2:] != image.shape[2:]:
        return Field(None, None, field.depth)
    return field


def _windowed(field: Field, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int] = (1, 1)) -> Field:
    if field.size is None or field.stride is None:
        return field
    height, width = (
        size + (wide - 1) * apart * step
        for size, wide, apart, step in zip(field.size, kernel, dilation, field.stride, strict=True)
    )
    return Field((height, width), (field.stride[0] * stride[0], field.stride[1] * stride[1]), field.depth)


def _pair(values: Any) -> Sequence[int]:
    if isinstance(values, int):
        return values, values
    return values if len(values) == 2 else [values[0]] * 2


def _convolution(args: Sequence[Any], field: Field, _: Tensor) -> Field:
    kernel, transposed = args[1].shape[2:], args[6]
    deeper = field._replace(depth=field.depth + 1)
    if transposed or len(kernel) != 2:
        return Field(None, None, deeper.depth)
    return _windowed(deeper, kernel, _pair(args[3]), _pair(args[5]))


def _pool(args: Sequence[Any], field: Field, _: Tensor) -> Field:
    kernel = _pair(args[1])
    return _windowed(field, kernel, _pair(args[2]) if len(args) > 2 and args[2] else kernel)


def _dilated_pool(args: Sequence[Any], field: Field, _: Tensor) -> Field:
    kernel = _pair(args[1])
    stride = _pair(args[2]) if len(args) > 2 and args[2] else kernel
    return _windowed(field, kernel, stride, _pair(args[4]) if len(args) > 4 else (1, 1))


def _adaptive(args: Sequence[Any], field: Field, output: Tensor) -> Field:
    before, after = args[0].shape[-2:], output.shape[-2:]
    # The widest window: from floor(i n / m) to ceil((i + 1) n / m).
    windows = [max(-(-(i + 1) * n // m) - i * n // m for i in range(m)) for n, m in zip(before, after, strict=True)]
    return _windowed(field, windows, [max(1, n // m) for n, m in zip(before, after, strict=True)])


def _mean(args: Sequence[Any], field: Field, _: Tensor) -> Field:
    image = args[0]
    dims = {dim % image.dim() for dim in (args[1] or range(image.dim()))} if len(args) > 1 else set(range(image.dim()))
    window = [image.shape[dim] if dim in dims else 1 for dim in (2, 3)] if image.dim() == 4 else [1, 1]
    return _windowed(field, window, window)


def _slice(args: Sequence[Any], field: Field, _: Tensor) -> Field:
    dim, step = (args[1] if len(args) > 1 else 0) % args[0].dim(), args[4] if len(args) > 4 else 1
    steps = [step if args[0].dim() == 4 and dim == place else 1 for place in (2, 3)]
    return _windowed(field, (1, 1), steps)


def _linear(_: Sequence[Any], field: Field, __: Tensor) -> Field:
    return field._replace(depth=field.depth + 1)


def _kept(_: Sequence[Any], field: Field, __: Tensor) -> Field:
    return field


_RULES: dict[Any, Callable[[Sequence[Any], Field, Tensor], Field]] = {
    aten.convolution: _convolution,
    aten.max_pool2d_with_indices: _dilated_pool,
    aten.avg_pool2d: _pool,
    aten._adaptive_avg_pool2d: _adaptive,
    aten.mean: _mean,
    aten.slice: _slice,
    aten.addmm: _linear,
    aten.mm: _linear,
    aten.constant_pad_nd: _kept,
    aten.reflection_pad2d: _kept,
}

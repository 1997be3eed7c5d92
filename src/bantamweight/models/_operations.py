"""The operations that a program from a file may use: they compute on tensors and numbers and do nothing else."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch

from bantamweight.errors import InputError

__all__ = ["PLAIN", "operation"]

# Named one by one, not `aten.*`: from_file writes files, set_ and resize_ move storage, and private operations crash on
# arguments that no compiler would give them.
_ATEN = """
conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d linear addmm mm bmm baddbmm matmul einsum
mv dot batch_norm _native_batch_norm_legit_no_training layer_norm native_layer_norm group_norm
native_group_norm instance_norm rms_norm linalg_vector_norm scaled_dot_product_attention embedding prelu glu
relu relu_ relu6 relu6_ hardtanh hardtanh_ leaky_relu leaky_relu_ elu elu_ selu selu_ celu celu_ gelu silu
silu_ mish mish_ hardswish hardswish_ hardsigmoid hardsigmoid_ sigmoid sigmoid_ tanh tanh_ softplus
log_sigmoid softmax log_softmax _softmax _log_softmax threshold threshold_ hardshrink softshrink clamp clamp_
clamp_min clamp_min_ clamp_max clamp_max_ max_pool1d max_pool2d max_pool2d_with_indices avg_pool1d avg_pool2d
adaptive_avg_pool1d adaptive_avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d mean sum prod amax amin max
min var std var_mean argmax argmin cumsum topk logsumexp add add_ sub sub_ rsub mul mul_ div div_ neg abs sign
exp expm1 log log1p log2 sqrt rsqrt reciprocal square pow sin cos erf floor ceil round trunc frac maximum
minimum remainder fmod addcmul addcdiv lerp where eq ne lt le gt ge logical_and logical_or logical_not
logical_xor bitwise_and bitwise_or bitwise_not isnan isinf nan_to_num any all view _unsafe_view reshape
view_as flatten unflatten squeeze squeeze_ unsqueeze unsqueeze_ permute transpose transpose_ t movedim
swapaxes expand expand_as repeat tile cat concat stack split split_with_sizes chunk unbind slice select narrow
index index_select gather pad constant_pad_nd reflection_pad2d replication_pad2d roll flip pixel_shuffle
pixel_unshuffle channel_shuffle native_channel_shuffle unfold im2col upsample_nearest2d upsample_bilinear2d
upsample_bicubic2d grid_sampler_2d masked_fill tril triu contiguous clone alias detach lift_fresh_copy to
_to_copy type_as dropout dropout_ feature_dropout alpha_dropout zeros ones full arange linspace eye
scalar_tensor zeros_like ones_like full_like new_zeros new_ones new_full copy_ fill_ masked_fill_ zero_
slice_scatter select_scatter copy sym_size sym_numel
"""
_ALLOWED = frozenset(_ATEN.split())
_OPERATORS = "add sub mul floordiv truediv mod neg eq ne lt le gt ge and_ or_ not_ getitem"

PLAIN: dict[str, Callable[..., Any]] = {
    **{f"_operator.{name}": getattr(operator, name) for name in _OPERATORS.split()},
    "math.trunc": math.trunc,
    "math.floor": math.floor,
    "math.ceil": math.ceil,
    "torch.sym_max": max,
    "torch.sym_min": min,
    "torch.sym_int": int,
    "torch.sym_float": float,
    "torch.sym_not": operator.not_,
}
"""Arithmetic on sizes."""


def operation(op: str) -> Callable[..., Any]:
    """The function behind `aten.NAME.OVERLOAD` or a name of PLAIN; raises InputError for every other."""
    if op in PLAIN:
        return PLAIN[op]
    space, _, rest = op.partition(".")
    name, _, overload = rest.partition(".")
    if space == "aten" and name in _ALLOWED:
        packet = getattr(torch.ops.aten, name)
        found = getattr(packet, overload) if overload in packet.overloads() else None
        if found is not None and not any(argument.is_out for argument in found._schema.arguments):
            return found
    raise InputError(
        f"the program calls {op[:80]!r}, which is not among the operations that a program from a file may use; "
        "load the model as module:function with --trust instead"
    )

"""What makes decoding slow on grouped heads, mended: the attention call and the cache's copies.

Imports torch: imported only by an engine that has a model to load.
"""

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, Cache, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

GROUPED = "tsr_grouped_sdpa"
# Tokens of room that a growing cache gets at a time.
ROOM = 64


def grouped_sdpa(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """SDPA whose decoding step does not repeat keys and values for each head of a group.

    query [B, H, S, D], key and value [B, G, L, D], mask [B, 1, S, L] -> [B, S, H, D].
    With one new token (S = 1) the H/G heads of a group are passed as that many query positions.
    On a CPU this is 5 to 10 times as fast as repeating the keys, which is what transformers does.
    """
    if query.shape[2] > 1:
        return sdpa_attention_forward(  # type: ignore[no-any-return]
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
    batch, heads, _, width = query.shape
    groups = query.view(batch, key.shape[1], -1, width)
    out = scaled_dot_product_attention(groups, key, value, attn_mask=attention_mask, scale=scaling)
    return out.reshape(batch, 1, heads, width), None


def use_grouped(model: Any) -> None:
    """Make a model that was loaded with `sdpa` decode with `grouped_sdpa`."""
    AttentionInterface.register(GROUPED, grouped_sdpa)
    AttentionMaskInterface.register(GROUPED, sdpa_mask)
    model.set_attn_implementation(GROUPED)


class RoomyLayer(DynamicLayer):  # type: ignore[misc]  # transformers is untyped
    """Keys and values with room behind the last token: a step writes one token, copies nothing."""

    keys: torch.Tensor | None
    values: torch.Tensor | None
    _buffers: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append [B, G, S, D]; returns all keys and values so far, [B, G, L + S, D] each."""
        start = self.get_seq_length()
        end = start + key_states.shape[2]
        if self._buffers is None or end > self._buffers[0].shape[2]:
            self._buffers = (
                _roomier(self.keys, key_states, start, end),
                _roomier(self.values, value_states, start, end),
            )
        keys, values = self._buffers
        keys[:, :, start:end], values[:, :, start:end] = key_states, value_states
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        self.is_initialized = True
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep, reorder or repeat rows."""
        super().batch_select_indices(indices)
        self._buffers = None


def _roomier(old: torch.Tensor | None, new: torch.Tensor, start: int, end: int) -> torch.Tensor:
    """Like `new` [B, G, S, D], with more than `end` places; the first ones hold `old`."""
    batch, groups, _, width = new.shape
    buffer = new.new_empty(batch, groups, end + ROOM, width)
    if old is not None:
        buffer[:, :, :start] = old
    return buffer


def new_cache(model: Any) -> Cache:
    """An empty cache for the model; layers with full attention get room to grow into."""
    cache = DynamicCache(config=model.config)
    cache.layers = [RoomyLayer() if type(c) is DynamicLayer else c for c in cache.layers]
    return cache

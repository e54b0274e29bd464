"""Drawing of tokens: distribution, nucleus, seeds."""

import pytest
import torch

from tsr.engines.sampling import draw, inverse_cdf, nucleus, uniforms


def test_uniforms_depend_on_seed_and_step_alone() -> None:
    few, many = uniforms([3, 4], 5), uniforms([9, 4, 3], 50)
    assert torch.equal(few[0], many[2, :5])
    assert torch.equal(few[1], many[1, :5])
    assert bool(((many >= 0) & (many < 1)).all())
    assert len(set(many.flatten().tolist())) == 150
    # The stream is fixed: results in a store were drawn from it.
    assert uniforms([0], 2)[0].tolist() == pytest.approx([0.011547, 0.241549], abs=1e-5)


def test_uniforms_are_uniform() -> None:
    drawn = uniforms(range(200), 500)
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.005)
    assert drawn[:, 0].mean().item() == pytest.approx(0.5, abs=0.08)
    assert torch.histc(drawn.float(), 10, 0, 1).tolist() == pytest.approx([10_000] * 10, rel=0.05)


@pytest.mark.parametrize("vocabulary", [5, 256, 1000])
def test_inverse_cdf_cuts_the_line_at_the_cumulative_probabilities(vocabulary: int) -> None:
    torch.manual_seed(0)
    probs = (torch.randn(vocabulary) * 2).softmax(-1)
    probs[::3] = 0  # never drawn
    probs /= probs.sum()
    points = (torch.arange(20_000) + 0.5).double() / 20_000
    tokens = inverse_cdf(probs.expand(20_000, -1), points)
    shares = torch.bincount(tokens, minlength=vocabulary) / 20_000
    assert (shares - probs).abs().max().item() < 2e-4
    assert (tokens.diff() >= 0).all()
    assert not shares[::3].any()


def test_inverse_cdf_at_the_ends() -> None:
    probs = torch.tensor([[0.0, 0.25, 0.75, 0.0]]).expand(2, -1)
    ends = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    assert inverse_cdf(probs, ends).tolist() == [1, 2]


@pytest.mark.parametrize("vocabulary", [8, 2000])
def test_nucleus_is_the_fewest_that_reach_top_p(vocabulary: int) -> None:
    torch.manual_seed(0)
    probs = torch.rand(3, vocabulary).softmax(-1)
    top_p = torch.tensor([0.3, 0.8, 1.0])
    kept = nucleus(probs, top_p)
    assert torch.equal(kept[2], probs[2])
    for row in (0, 1):
        chosen = kept[row][kept[row] > 0]
        assert chosen.sum() >= top_p[row]
        assert chosen.sum() - chosen.min() < top_p[row]
        assert chosen.min() >= probs[row][kept[row] == 0].max()


def test_rows_have_settings_of_their_own() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0]]).expand(3, -1)
    temperature, top_p = torch.tensor([0.0, 1.0, 1.0]), torch.tensor([1.0, 1.0, 0.5])
    high = torch.full((3,), 0.9999, dtype=torch.float64)
    assert draw(logits, temperature, top_p, high).tolist() == [1, 2, 1]
    assert draw(logits, torch.zeros(3), top_p, high).tolist() == [1, 1, 1]

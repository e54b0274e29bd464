"""Expected verdicts: what a model would say, each possible verdict weighted by its probability.

Log-probabilities are natural logs of the next token's probability. A server tells only those of the
most probable tokens, so an option may be absent: it then counts as impossible, and what is left is
weighed among itself.
"""

import math
from collections.abc import Mapping
from typing import Final

from tsr.settings import Refused

HIGHEST: Final = 10
Weights = dict[str, float]


def check_scale(low: float, high: float) -> None:
    """Refused unless the scale holds two whole numbers or more, all within 0 and 10."""
    numbers = whole_numbers(low, high)
    if len(numbers) < 2:
        raise Refused(f"judge.high={high}: scoring=expected needs two whole numbers from {low} on")
    if numbers[0] < 0:
        raise Refused(f"judge.low={low}: scoring=expected needs a scale from 0 on")
    if numbers[-1] > HIGHEST:
        raise Refused(f"judge.high={high}: scoring=expected knows scales up to {HIGHEST}")


def whole_numbers(low: float, high: float) -> range:
    """The scale's whole numbers, from the lowest on."""
    return range(math.ceil(low), math.floor(high) + 1)


def weights_of(options: Mapping[str, float] | None) -> Weights:
    """Probabilities of the options that are told, relative to the likeliest; empty when none is."""
    known = {o: lp for o, lp in (options or {}).items() if math.isfinite(lp)}
    top = max(known.values(), default=0.0)
    return {option: math.exp(lp - top) for option, lp in known.items()}


def with_ten(one_digit: Weights, second: Mapping[str, float] | None) -> Weights:
    """Split the weight of a first digit 1 into those of 1 and 10.

    second: log-probability of "0" after that 1: P(10) = P("1") P("0" | "1").
    """
    zero = (second or {}).get("0", -math.inf)
    share = min(1.0, math.exp(min(zero, 0.0))) if not math.isnan(zero) else 0.0
    one = one_digit.get("1", 0.0)
    return one_digit | ({"1": one * (1 - share), "10": one * share} if one else {})


def mean(weights: Weights, values: Mapping[str, float]) -> float | None:
    """Sum of value x probability over the options that have a value; None when none has weight."""
    known = {option: w for option, w in weights.items() if option in values}
    total = sum(known.values())
    if total == 0:
        return None
    found = sum(values[option] * w for option, w in known.items()) / total
    # Rounding must not carry a mean off the scale that its values span.
    return min(max(found, min(values.values())), max(values.values()))


def told(weights: Weights, values: Mapping[str, float]) -> str:
    """The probabilities for people: `0: 0.125, 1: 0.875`."""
    total = sum(weights.get(option, 0.0) for option in values)
    shares = [f"{option}: {weights[option] / total:.3f}" for option in values if option in weights]
    return ", ".join(shares)

"""What each picture shows, with its method."""

from __future__ import annotations

from zerocast.analysis.reports.pictures.designs import Chosen

FRONT = (
    "Pareto front of two objectives: all designs in grey, the designs that no other beats in both as dots on the "
    "border of what they dominate. The knee (star) is the design of the front that bulges most towards the ideal "
    "point: the least sum of both objectives, each as a logarithm scaled from its best to its worst on the front "
    "(Das, 1999). Of three objectives or more it is the knee of these two alone; the knee among the "
    "lettered designs is that of all objectives."
)
PARAMETERS = "The objective against each parameter: all designs, and as a line the best design at each value."
PAIR = "Two columns against each other, all designs, coloured by the first objective."
HEAT = (
    "The best design for each pair of values of two parameters, over all values of the parameters that the title "
    "names; each panel takes the best design of its own objective. "
    "Without --x and --y the two parameters with the largest main effects on the first objective are "
    "taken. Grey cells hold no design."
)
PARALLEL = (
    "Parallel coordinates: each line is a design, the front of all objectives in colour. Parameters stand at even "
    "steps where they take few values; objectives that span a decade are on logarithmic axes, their better end at "
    "the bottom."
)
_ONE_AT_A_TIME = (
    "Sensitivity to each parameter, by two methods. Left, one at a time: all designs that differ from the best "
    "design of the objective in this parameter alone, as a ratio to the best; dark dots have its lowest value, "
    "light ones its highest. Right, variance-based main effects: the first-order index Var(E[Y|X]) / Var(Y) "
    "(Saltelli et al., 2008) of the objective's logarithm (of the objective itself where it is not positive)"
)
_EXACT = (
    ". The designs are every combination of their values, each once, so the shares are exact for them, and what the "
    "bars lack to 100 % are interactions of parameters."
)
_ESTIMATED = (
    ", estimated by epsilon squared (Kelley, 1935), numbers of more than 20 values in ten classes of equal size. The "
    "designs are not every combination of their values (a search or a sample, a constraint, a conditional parameter, "
    "errors, a run that is not finished), so the shares are estimates: the estimator takes off what chance alone "
    "would explain, and an effect smaller than that reads 0 %. Parameters may go together in such designs and share "
    "what they explain; the bars' sum then says nothing about interactions."
)
ROOFLINE = (
    "Roofline: multiply-accumulates with both operands nonzero, per second and per DRAM byte. Each chosen design "
    "stands under its own roofs: the slope of its DRAM bandwidth and the peak of its array. The axis ends a "
    "decade beyond the designs at most; a roof whose ridge lies farther shows one of its parts alone."
)
ENERGY = (
    "Energy of the chosen designs by component, dynamic and static, with the parameters that vary; components of 0 J "
    "are left out."
)


def sensitivity(exact: bool) -> str:
    """Caption of the sensitivity; exact: the designs are a whole grid."""
    return _ONE_AT_A_TIME + (_EXACT if exact else _ESTIMATED)


def three(chosen: list[Chosen]) -> str:
    """Caption of the picture of three objectives, with its letters."""
    letters = "; ".join(f"{each.letter}: {each.role}" for each in chosen)
    return (f"Three objectives. Left in space, the front of all three in blue; right the first two with the third as "
            f"colour; black ring: the front, orange ring: {letters}.")  # fmt: skip

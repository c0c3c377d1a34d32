"""The colours of masks and figures by what they mean: people with any colour blindness tell them apart.

Source: Okabe and Ito, jfly.uni-koeln.de/color, 2008; the grey and the tints of blue are ours.
"""

from __future__ import annotations

_BLUE, _SKY, _GREEN, _ORANGE = "#0072B2", "#56B4E9", "#009E73", "#E69F00"
_VERMILION, _PURPLE, _GREY = "#D55E00", "#CC79A7", "#8A8A8A"

OUTCOMES = {"auto_accepted": _BLUE, "flagged": _ORANGE, "discarded": _GREY}
TRUTH = _GREEN
VERDICTS = {"pass": _GREEN, "fail": _VERMILION, "insufficient": _ORANGE, "not applicable": _GREY}
BOXES = {"problem": _VERMILION, "info": _BLUE}  # words in a box, by their kind

MAIN, SECOND, THIRD = _BLUE, _GREEN, _PURPLE  # what a figure shows, told apart from a limit as well
BESIDE = _ORANGE  # what the main thing is compared with: before recalibration, the seed's thresholds, another set
REFERENCE = _GREY  # what would be perfect or even, what is stated elsewhere, plain counts
LIMIT = _VERMILION  # thresholds, what they accept now, and what failed one
FAINT = "#7FB8D8"  # the main colour of what is assumed or simulated
QUARTERS = ("#08306B", MAIN, FAINT, "#CFE3F2")  # in order, dark to pale

CYCLES = (_SKY, _BLUE, _GREEN, _ORANGE, _VERMILION, _PURPLE)  # in order, the first ones bluest
GROUPS = (_BLUE, _VERMILION, _GREEN, _PURPLE, _ORANGE, _SKY)  # of equal standing

"""Colours of classes and strategies on a light ground, told apart also by people who see fewer colours."""

from __future__ import annotations

COLOURS_LIGHT = ("#0072B2", "#D55E00", "#009E73", "#B5538F", "#C98500", "#3E97CF", "#7A5C3E", "#5B4FB3")

"""How numbers and names are written in every report: one place, so that terminal and page agree."""

from __future__ import annotations

import math

from labelwise.report.statistics import Interval, Savings

NONE = "n/a"


def middle(name: str, most: int = 11) -> str:
    """A name cut in the middle: the end tells files of one camera apart, and classes of one kind.

    Example:
        >>> middle("DSC_0012345.jpg"), middle("cat")
        ('DSC_…45.jpg', 'cat')
    """
    return name if len(name) <= most else f"{name[:4]}…{name[-(most - 5) :]}"


def value(number: float, digits: int = 3) -> str:
    """A metric: three decimals, fewer for large numbers.

    Example:
        >>> value(0.8125), value(1234.5), value(float("nan"))
        ('0.812', '1,234', 'n/a')
    """
    if not math.isfinite(number):
        return NONE
    size = abs(number)
    if size >= 1000:
        return f"{number:,.0f}"
    return f"{number:.{digits if size < 10 else max(digits - 2, 0)}f}"


def signed(number: float, digits: int = 3) -> str:
    """A difference, with its sign.

    Example:
        >>> signed(0.01), signed(-0.01), signed(0.0)
        ('+0.010', '-0.010', '0.000')
    """
    text = value(number, digits)
    return f"+{text}" if number > 0 and text.strip("0.,") else text.lstrip("-") if not text.strip("-0.,") else text


def plus_minus(interval: Interval, digits: int = 3) -> str:
    """Mean and half width of the interval.

    Example:
        >>> plus_minus(Interval(0.8, 0.79, 0.81, 5)), plus_minus(Interval(0.8, math.nan, math.nan, 1))
        ('0.800 ±0.010', '0.800')
    """
    if not math.isfinite(interval.half):
        return value(interval.mean, digits)
    return f"{value(interval.mean, digits)} ±{value(interval.half, digits)}"


def limits(interval: Interval, digits: int = 3) -> str:
    """Both ends of an interval of differences.

    Example:
        >>> limits(Interval(0.02, 0.01, 0.03, 5))
        '+0.010 to +0.030'
    """
    if not math.isfinite(interval.low):
        return NONE
    return f"{signed(interval.low, digits)} to {signed(interval.high, digits)}"


def p_value(p: float) -> str:
    """A p-value, three decimals.

    Example:
        >>> p_value(0.0001), p_value(0.0213), p_value(math.nan)
        ('<0.001', '0.021', 'n/a')
    """
    if not math.isfinite(p):
        return NONE
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def percent(share: float) -> str:
    """A share as a percentage, whole numbers.

    Example:
        >>> percent(0.376), percent(-0.001)
        ('38 %', '0 %')
    """
    return f"{round(100 * share):d} %" if math.isfinite(share) else NONE


def saved(savings: Savings) -> str:
    """Labels saved: mean, interval, and how many seeds got there at all.

    Example:
        >>> saved(Savings(1.0, 0.8, Interval(0.3, 0.2, 0.4, 4), 0.3, 70, 100, 5, 4, (0.3,)))
        '30 % (20 to 40 %), reached in 4 of 5'
    """
    if savings.pairs == 0:
        return NONE
    if savings.reached == 0:
        return "not reached"
    text = percent(savings.saved.mean)
    if math.isfinite(savings.saved.low):
        text += f" ({round(100 * savings.saved.low):d} to {percent(savings.saved.high)})"
    if savings.reached < savings.pairs:
        text += f", reached in {savings.reached} of {savings.pairs}"
    return text


def noise_floor(floor: float) -> str:
    """How far trainings on the same labels lie apart by chance; "" where that is not known, or they do not differ.

    Example:
        >>> noise_floor(0.0203), noise_floor(0.0)
        ('noise floor of training ±0.020', '')
    """
    return f"noise floor of training ±{value(floor)}" if floor > 0 else ""


def seconds(number: float) -> str:
    """A duration.

    Example:
        >>> seconds(0.0123), seconds(3.21), seconds(45.2), seconds(312.0), seconds(10000.0)
        ('0.012 s', '3.2 s', '45 s', '5.2 min', '2.8 h')
    """
    if not math.isfinite(number):
        return NONE
    if number >= 5400:
        return f"{number / 3600:.1f} h"
    if number >= 90:
        return f"{number / 60:.1f} min"
    if number >= 10:
        return f"{number:.0f} s"
    return f"{number:.1f} s" if number >= 1 else f"{number:.2g} s" if number else "0 s"


def megabytes(number: float) -> str:
    """A size given in MiB.

    Example:
        >>> megabytes(812.3), megabytes(2048)
        ('812 MiB', '2.0 GiB')
    """
    if not math.isfinite(number):
        return NONE
    return f"{number / 1024:.1f} GiB" if number >= 1024 else f"{number:.0f} MiB"


def count(number: float, noun: str, plural: str | None = None) -> str:
    """A count with its noun.

    Example:
        >>> count(1, "seed"), count(1200, "seed"), count(2, "class", "classes")
        ('1 seed', '1,200 seeds', '2 classes')
    """
    return f"{number:,.0f} {noun if number == 1 else plural or noun + 's'}"


def metric_name(name: str) -> str:
    """A metric's name in running text.

    Example:
        >>> metric_name("balanced_accuracy"), metric_name("ece"), metric_name("map50")
        ('balanced accuracy', 'ECE', 'AP50')
    """
    usual = {"map": "mAP", "map50": "AP50", "map75": "AP75", "voc07": "VOC07 mAP", "voc": "VOC mAP", "miou": "mIoU"}
    return usual.get(name) or (name.upper() if name in ("ece", "nll", "auroc", "iou") else name.replace("_", " "))

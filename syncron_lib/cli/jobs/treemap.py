"""A treemap: areas in proportion to numbers, as square as they can be."""

from __future__ import annotations

from collections.abc import Sequence

from syncron_lib.record import NamedTuple


class Box(NamedTuple):
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float


def squarified(sizes: Sequence[float], box: Box) -> list[Box]:
    """A box for each of ``sizes``, which fall and are above 0; together they fill ``box``.

    By Bruls, Huizing and van Wijk: a row is filled along the shorter side as long as that makes
    its worst box squarer.
    """
    boxes: list[Box] = []
    at = 0
    while at < len(sizes):
        # Summed anew: what is left of a difference of large numbers is noise.
        left = float(sum(sizes[at:]))
        short = min(box.width, box.height)
        scale = box.width * box.height / left if left else 0.0
        row = [sizes[at] * scale]
        while at + len(row) < len(sizes):
            longer = [*row, sizes[at + len(row)] * scale]
            if _worst(longer, short) > _worst(row, short):
                break
            row = longer
        thick = sum(row) / short if short else 0.0
        along = 0.0
        for area in row:
            length = area / thick if thick else 0.0
            if box.width >= box.height:
                boxes.append(Box(box.x, box.y + along, thick, length))
            else:
                boxes.append(Box(box.x + along, box.y, length, thick))
            along += length
        if box.width >= box.height:
            box = Box(box.x + thick, box.y, max(0.0, box.width - thick), box.height)
        else:
            box = Box(box.x, box.y + thick, box.width, max(0.0, box.height - thick))
        at += len(row)
    return boxes


def _worst(row: Sequence[float], short: float) -> float:
    """The worst ratio of sides in a row of areas along ``short``."""
    total = sum(row)
    if not total or not short:
        return float("inf")
    square = short * short
    return max(square * max(row) / (total * total), total * total / (square * min(row)))

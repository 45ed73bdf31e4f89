"""Bells, losses, decoding and masses of heat maps against loops over single cells."""

from __future__ import annotations

import math
import time

import pytest
import torch

from labelwise.models import heat_maps

SIGMA = 1.5


def slow_bell(x, y, height, width, sigma=SIGMA):
    """The value of the bell at each cell, cell by cell."""
    return [
        [math.exp(-((j + 0.5 - x * width) ** 2 + (i + 0.5 - y * height) ** 2) / (2 * sigma**2)) for j in range(width)]
        for i in range(height)
    ]


def made(seed=0, images=3, points=4, height=9, width=11):
    rng = torch.Generator().manual_seed(seed)
    maps_BKHW = 3 * torch.randn(images, points, height, width, generator=rng)
    points_BK2 = torch.rand(images, points, 2, generator=rng)
    return maps_BKHW, points_BK2, torch.rand(images, points, generator=rng) < 0.6


def slow_divergence(map_HW, bell):
    total = sum(map(sum, bell))
    norm = math.log(sum(math.exp(value) for row in map_HW for value in row))
    return sum(
        b / total * (math.log(b / total) - (value - norm))
        for bells, values in zip(bell, map_HW, strict=True)
        for b, value in zip(bells, values, strict=True)
    )


def slow_square(map_HW, bell):
    cells = [
        (value - b) ** 2
        for bells, values in zip(bell, map_HW, strict=True)
        for b, value in zip(bells, values, strict=True)
    ]
    return 0.5 * sum(cells) / len(cells)


@pytest.mark.parametrize(("loss", "slow"), [("divergence", slow_divergence), ("squares", slow_square)])
def test_losses_are_sums_over_cells_of_the_known_points(loss, slow):
    maps_BKHW, points_BK2, known_BK = made()
    sums_B, norms_B = getattr(heat_maps, loss)(maps_BKHW, points_BK2, known_BK, SIGMA)
    for image in range(len(maps_BKHW)):
        expected = sum(
            slow(maps_BKHW[image, k].tolist(), slow_bell(*points_BK2[image, k].tolist(), 9, 11))
            for k in range(4)
            if known_BK[image, k]
        )
        assert float(sums_B[image]) == pytest.approx(expected, rel=1e-4)
        assert float(norms_B[image]) == (int(known_BK[image].sum()) if loss == "divergence" else 4)


def test_the_divergence_of_the_bell_from_itself_is_nothing():
    _, points_BK2, known_BK = made()
    down, across = heat_maps.bells(points_BK2, (9, 11), SIGMA)
    logits = (down[..., :, None] * across[..., None, :]).log() + 5
    sums_B, _ = heat_maps.divergence(logits, points_BK2, known_BK, SIGMA)
    assert torch.allclose(sums_B, torch.zeros(3), atol=1e-4)


@pytest.mark.parametrize("loss", ["divergence", "squares"])
def test_a_point_that_is_not_known_may_lie_anywhere(loss):
    maps_BKHW, points_BK2, known_BK = made()
    expected = getattr(heat_maps, loss)(maps_BKHW, points_BK2, known_BK, SIGMA)[0]
    away_BK2 = torch.where(known_BK[..., None], points_BK2, -50.0)
    maps_BKHW.requires_grad_()
    found = getattr(heat_maps, loss)(maps_BKHW, away_BK2, known_BK, SIGMA)[0]
    assert torch.equal(found, expected)
    found.sum().backward()
    assert torch.isfinite(maps_BKHW.grad).all()


def slow_decoded(map_HW):
    """The highest cell, and the tops of the parabolas through it and its neighbours."""
    height, width = len(map_HW), len(map_HW[0])
    y, x = max(((i, j) for i in range(height) for j in range(width)), key=lambda place: map_HW[place[0]][place[1]])

    def top(before, at, after):
        bend = 2 * at - before - after
        return (after - before) / (2 * bend) if bend > 0 else 0.0

    right = top(*(map_HW[y][x + step] for step in (-1, 0, 1))) if 0 < x < width - 1 else 0.0
    down = top(*(map_HW[y + step][x] for step in (-1, 0, 1))) if 0 < y < height - 1 else 0.0
    return [(x + 0.5 + right) / width, (y + 0.5 + down) / height]


def test_decoding_is_that_of_its_twin():
    maps_BKHW, _, _ = made(seed=1, images=20)
    found = heat_maps.decoded(maps_BKHW)
    for image in range(20):
        for k in range(4):
            assert found[image, k].tolist() == pytest.approx(slow_decoded(maps_BKHW[image, k].tolist()), abs=1e-5)


def test_the_place_of_a_bell_comes_back_finer_than_a_cell():
    points_BK2 = 0.1 + 0.8 * torch.rand(5, 17, 2, generator=torch.Generator().manual_seed(2))
    down, across = heat_maps.bells(points_BK2, (64, 48), 2.0)
    logits = (down[..., :, None].double() * across[..., None, :]).clamp_min(1e-30).log()
    assert torch.allclose(heat_maps.decoded(logits).float(), points_BK2, atol=1e-4)


def test_a_map_that_is_no_number_has_no_point_and_a_flat_one_has():
    maps = torch.zeros(1, 2, 4, 4)
    maps[0, 0, 1, 1] = torch.nan
    points_K2 = heat_maps.decoded(maps)[0]
    assert torch.isnan(points_K2[0]).all()
    assert torch.isfinite(points_K2[1]).all()


@pytest.mark.heavy
def test_a_thousand_poses_are_decoded_in_half_a_second_on_one_thread():
    maps = torch.rand(1000, 17, 64, 48, generator=torch.Generator().manual_seed(0))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        start = time.thread_time()
        heat_maps.decoded(maps)
        assert time.thread_time() - start < 0.5
    finally:
        torch.set_num_threads(threads)


def slow_masses(map_HW, radius, count):
    """Highest cell, what lies around it, away with that, and again."""
    left = [row[:] for row in map_HW]
    height, width = len(left), len(left[0])
    found, cells = [], []
    for _ in range(count):
        y, x = max(((i, j) for i in range(height) for j in range(width)), key=lambda place: left[place[0]][place[1]])
        cells.append(y * width + x)
        mass = 0.0
        for i in range(height):
            for j in range(width):
                if abs(i - y) <= radius and abs(j - x) <= radius:
                    mass += left[i][j]
                    left[i][j] = 0.0
        found.append(mass)
    return cells, [*found, max(0.0, 1 - sum(found))]


@pytest.mark.parametrize("radius", [1, 3])
def test_masses_are_those_of_their_twin_and_sum_to_one(radius):
    maps_BKHW, _, _ = made(seed=3)
    probs_UHW = heat_maps.over_cells(maps_BKHW).flatten(0, 1)
    cells_UP = heat_maps.peaks(probs_UHW, 4, radius)
    masses_UC = heat_maps.masses(probs_UHW, cells_UP, radius)
    assert torch.allclose(masses_UC.sum(1), torch.ones(len(masses_UC)), atol=1e-5)
    for unit, map_HW in enumerate(probs_UHW.tolist()):
        cells, expected = slow_masses(map_HW, radius, 4)
        if expected[-1] > 1e-6:  # where nothing is left, any cell is as high
            assert cells_UP[unit].tolist() == cells
        assert masses_UC[unit].tolist() == pytest.approx(expected, abs=1e-5)

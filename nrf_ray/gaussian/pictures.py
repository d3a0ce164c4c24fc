"""Pictures of Figure 4 and Figure 14: samples, the model's ellipses, and the boundary that it implies."""

from collections.abc import Sequence

import numpy as np

from nrf_ray.display.svg import Panel, Point, ellipse, picture
from nrf_ray.gaussian.model import Array, Gaussian, accuracy, boundary_slope, condition_number, gradient
from nrf_ray.gaussian.robust import robust_mle

POSITIVE, NEGATIVE, BOUNDARY, BALL, METRIC = "#c0392b", "#2e6da4", "#222222", "#e08e0b", "#2e8b57"
WIDTH, HEIGHT, GAP, TOP, BOTTOM = 330.0, 165.0, 50.0, 40.0, 84.0


def draw_figure_4(truth: Gaussian, radii: Sequence[float], x: Array, y: Array) -> bytes:
    """Return Figure 4 as SVG: the unit balls of both metrics, then the robust model for each radius."""
    first = _panel(
        0, "unit balls, l2 and induced", x=(-20, 20), y=(-10, 10), note="across x2 the l2 ball reaches further"
    )
    _draw_samples(first, x, y)
    for sign in (1.0, -1.0):
        centre = _point(sign * truth.mean)
        first.curve(ellipse(centre, [(1.0, 0.0), (0.0, 1.0)]), colour=BALL, width=2, closed=True)
        first.curve(ellipse(centre, _axes(truth.covariance)), colour=METRIC, width=2, closed=True)
    panels = [first]
    for eps in radii:
        model = robust_mle(truth, eps)
        note = f"condition {condition_number(model.covariance):.3g}, slope {boundary_slope(model):.2f}"
        panel = _panel(len(panels), f"\u03b5 = {eps:g}", x=(-20, 20), y=(-10, 10), note=note)
        _draw_samples(panel, x, y)
        for sign, colour in ((1.0, POSITIVE), (-1.0, NEGATIVE)):
            for deviations in (1.0, 2.0):
                axes = [(deviations * a, deviations * b) for a, b in _axes(model.covariance)]
                panel.curve(ellipse(_point(sign * model.mean), axes), colour=colour, closed=True)
        _draw_boundary(panel, model)
        panels.append(panel)
    legend = [
        (POSITIVE, "y = +1"),
        (NEGATIVE, "y = -1"),
        (BOUNDARY, "decision boundary"),
        (BALL, "l2 unit ball"),
        (METRIC, "unit ball of the induced metric"),
    ]
    size = {"width": _width(len(panels)), "height": TOP + HEIGHT + BOTTOM}
    return picture(panels, title="Figure 4: robust maximum likelihood at several radii", legend=legend, **size)


def draw_figure_14(truth: Gaussian, eps: float, x: Array, y: Array) -> bytes:
    """Return Figure 14 as SVG: the standard and the robust boundary on the same data, each with its band of eps."""
    panels: list[Panel] = []
    reach = 1.15 * float(abs(x).max())
    for name, model in (("standard", truth), ("robust", robust_mle(truth, eps))):
        note = f"accuracy {accuracy(model, truth):.3f}, at l2 {eps:g}: {accuracy(model, truth, eps):.3f}"
        tall = reach * HEIGHT / WIDTH
        panel = _panel(len(panels), f"{name} maximum likelihood", x=(-reach, reach), y=(-tall, tall), note=note)
        along, normal = _boundary(model)
        corners = [(along, normal), (along, -normal), (-along, -normal), (-along, normal)]
        panel.band([_point(3 * reach * a + eps * n) for a, n in corners], colour=BALL)
        _draw_samples(panel, x, y)
        _draw_boundary(panel, model)
        panels.append(panel)
    legend = [
        (POSITIVE, "y = +1"),
        (NEGATIVE, "y = -1"),
        (BOUNDARY, "decision boundary"),
        (BALL, f"within {eps:g} of it"),
    ]
    size = {"width": _width(len(panels)), "height": TOP + HEIGHT + BOTTOM}
    return picture(panels, title="Figure 14: standard and robust maximum likelihood", legend=legend, **size)


def _panel(index: int, title: str, *, x: Point, y: Point, note: str) -> Panel:
    left = GAP + index * (WIDTH + GAP)
    return Panel(left=left, top=TOP, width=WIDTH, height=HEIGHT, x=x, y=y, title=title, note=note)


def _width(panels: int) -> float:
    return panels * (WIDTH + GAP) + GAP / 2


def _draw_samples(panel: Panel, x: Array, y: Array) -> None:
    for label, colour in ((1.0, POSITIVE), (-1.0, NEGATIVE)):
        panel.dots([_point(row) for row in x[y == label]], colour=colour)


def _draw_boundary(panel: Panel, model: Gaussian) -> None:
    along, _ = _boundary(model)
    far = 4 * max(panel.x[1], panel.y[1]) * along
    panel.curve([_point(-far), _point(far)], colour=BOUNDARY, width=2)


def _boundary(model: Gaussian) -> tuple[Array, Array]:
    """Return unit vectors along the boundary and across it."""
    normal = gradient(model) / np.linalg.norm(gradient(model))
    return np.array([-normal[1], normal[0]]), normal


def _axes(covariance: Array) -> list[Point]:
    """Return the half-axes of the ellipse of one standard deviation."""
    eigenvalues, axes = np.linalg.eigh(covariance)
    return [_point(np.sqrt(value) * axis) for value, axis in zip(eigenvalues, axes.T, strict=True)]


def _point(vector: Array) -> Point:
    return float(vector[0]), float(vector[1])

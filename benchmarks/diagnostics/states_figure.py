"""The states of a model in three dimensions, as the polyhedron that they are the corners of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

from benchmarks.models import SequenceModel
from benchmarks.tasks.task import Batch

from .figures import BLUE, LINE_GREY, escape_dollars, write_figure

Points = NDArray[np.float64]
Indices = NDArray[np.int64]

DIMENSIONS = 3
COPLANAR_COSINE = 0.996  # of the angle between triangles of one face, about 5 degrees
VIEW = (0.5, 0.35)  # radians by which the picture is turned, about the vertical and then forward
LIGHT = np.array([-0.4, 0.5, 0.77])


@torch.no_grad()
def mean_states(model: SequenceModel, sample: Batch) -> Points:
    """The mean state of each class that occurs in a sample, ``(classes, H)``."""
    states, _ = model.core(model.embed(sample.input.to(model.readout.weight.device)))
    flat, labels = states.flatten(0, 1).double().cpu(), sample.target.flatten()
    sums = flat.new_zeros(int(labels.max()) + 1, flat.shape[1]).index_add(0, labels, flat)
    counts = torch.bincount(labels, minlength=len(sums)).unsqueeze(1)
    means: Points = (sums / counts.clamp(min=1))[counts.squeeze(1) > 0].numpy()
    return means


def plot_states(points: Points, title: str, path: Path) -> None:
    """Write a PNG: the convex hull of the states, seen from outside, its far side shining through.

    Args:
        points: ``(n, 3)``.
        title: above the picture.
        path: where the PNG goes.
    """
    seen = points @ _rotation(*VIEW).T  # x to the right, y upward, z to the eye
    faces = find_faces(seen)
    figure = Figure(figsize=(5, 5.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    back = [seen[face, :2] for face in faces if _normal(seen[face])[2] <= 0]
    front = [face for face in faces if _normal(seen[face])[2] > 0]
    outlines = [np.concatenate([polygon, polygon[:1]]) for polygon in back]
    axes.add_collection(LineCollection(outlines, colors=LINE_GREY, linewidths=0.6, zorder=0.5))
    shades = [_shade(seen[face]) for face in front]
    polygons = [seen[face, :2] for face in front]
    axes.add_collection(
        PolyCollection(polygons, facecolors=shades, edgecolors=BLUE, linewidths=0.9, alpha=0.8)
    )
    near = np.unique(np.concatenate(front)) if front else np.arange(len(seen))
    axes.scatter(seen[:, 0], seen[:, 1], s=6, color=LINE_GREY, zorder=0.5)
    axes.scatter(seen[near, 0], seen[near, 1], s=22, color=BLUE, zorder=3)
    axes.set_aspect("equal")
    axes.axis("off")
    axes.set_title(
        escape_dollars(f"{title}\n{len(points)} states in three dimensions"), fontsize=10
    )
    write_figure(path, figure)


def find_faces(points: Points) -> list[Indices]:
    """The corners of each face of the convex hull, in their order around it.

    The triangles of the hull that lie in one plane, but for what the training left, are one face.
    There are none where all points lie in a plane.
    """
    try:
        hull = ConvexHull(points)
    except QhullError:
        return []
    normals = hull.equations[:, :DIMENSIONS]
    face_of = np.arange(len(normals))
    for k, neighbours in enumerate(hull.neighbors):
        for other in neighbours:
            if normals[k] @ normals[other] > COPLANAR_COSINE:
                face_of[face_of == face_of[other]] = face_of[k]
    centre = points.mean(0)
    corners = [np.unique(hull.simplices[face_of == face]) for face in np.unique(face_of)]
    return [_in_order(points, face, centre) for face in corners]


def _in_order(points: Points, face: Indices, centre: Points) -> Indices:
    """The corners of a face counterclockwise, seen from outside."""
    middle = points[face].mean(0)
    outward = middle - centre
    first = points[face[0]] - middle
    first = first - outward * (first @ outward) / (outward @ outward)
    second = np.cross(outward, first) / np.linalg.norm(outward)
    around = points[face] - middle
    ordered: Indices = face[np.argsort(np.arctan2(around @ second, around @ first))]
    return ordered


def _normal(corners: Points) -> Points:
    cross = np.cross(corners, np.roll(corners, -1, 0)).sum(0)
    return np.asarray(cross / np.linalg.norm(cross))


def _shade(corners: Points) -> tuple[float, ...]:
    """A blue that is paler towards the light; faces of more than three corners are stronger."""
    paleness = 0.55 + 0.35 * max(0.0, float(_normal(corners) @ LIGHT))
    paleness -= 0.25 if len(corners) > DIMENSIONS else 0.0
    return tuple(paleness + (1 - paleness) * c for c in to_rgb(BLUE))


def _rotation(turn: float, tilt: float) -> Points:
    a, b, c, d = np.cos(turn), np.sin(turn), np.cos(tilt), np.sin(tilt)
    about_vertical = np.array([[a, 0, b], [0, 1, 0], [-b, 0, a]])
    forward = np.array([[1, 0, 0], [0, c, -d], [0, d, c]])
    rotation: Points = forward @ about_vertical
    return rotation

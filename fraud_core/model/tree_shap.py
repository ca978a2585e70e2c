"""TreeSHAP of an XGBoost model: what each feature of a row adds to its log-odds, on average over the orders in which
features can become known (path-dependent: a feature not known yet follows a split's children by their training rows).

For one leaf, let o_i be 1 when the row meets all the leaf's conditions on feature i, else 0, and z_i the share of the
training rows that do, as they passed the splits on i along the path. With the features of S known the leaf counts
Prod_{i in S} o_i Prod_{i not in S} z_i times its value, whose Shapley value has a closed form:

    phi_i = value (o_i - z_i) Integral_0^1 Prod_{j != i} (z_j (1 - t) + o_j t) dt

The integrand is a polynomial, so a Gauss-Legendre rule with enough points is exact but for rounding, and leaves share
the products of their common path: a row costs a few operations a node, a tenth of what XGBoost's own takes, which
unwinds every path for every leaf, in single precision.
"""

from dataclasses import dataclass
from typing import Any, Self

import numba
import numpy as np
import orjson
import xgboost as xgb

_LEAST_SHARE = 1e-12  # of a child that saw no training rows: nothing is divided by zero


@dataclass(frozen=True)
class TreeShap:
    """All nodes of all trees, a tree's root first and parents before their children; of each but the root, what the
    step from its parent asks.

    starts : (trees + 1,) where each tree begins. parent : counted from there. feature, threshold, is_left : the step.
    above : the step before, on the same path, that asks for the same feature; 0, a root, when there is none.
    value : of a leaf, else 0. factor : (nodes, 2, points) z (1 - t) + o t for o = 0 and 1. weight : what a leaf below
    the step adds to the feature, by o, for each unit of its product at a point.
    """

    starts: np.ndarray
    parent: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    is_left: np.ndarray
    above: np.ndarray
    value: np.ndarray
    factor: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, booster: xgb.Booster) -> Self:
        """Of trees with numerical splits (gbtree)."""
        model = orjson.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["model"]
        steps: list[tuple[Any, ...]] = []
        starts, depth = [0], 1
        for tree in model["trees"]:
            depth = max(depth, _walk(tree, steps))
            starts.append(len(steps))
        parent, feature, threshold, is_left, above, share, value = zip(*steps, strict=True)
        # A product of d factors, one of them left out, has degree d - 1; p points are exact up to 2 p - 1.
        points, weights = np.polynomial.legendre.leggauss((depth + 1) // 2)
        points, weights = (points + 1) / 2, weights / 2
        known = np.array([0.0, 1.0])[:, np.newaxis]
        unknown = np.array(share)[:, np.newaxis, np.newaxis]
        factor = unknown * (1 - points) + known * points
        return cls(
            np.array(starts),
            np.array(parent, dtype=np.uint32),
            np.array(feature, dtype=np.uint32),
            np.array(threshold, dtype=np.float32),
            np.array(is_left),
            np.array(above, dtype=np.uint32),
            np.array(value),
            factor,
            weights * (known - unknown) / factor,
        )

    def contributions(self, values: np.ndarray) -> np.ndarray:
        """(n, features) float64 in log-odds of (n, features) float32 finite values; each row on its own, to the bit."""
        out = np.zeros(values.shape)
        # A tuple, because its length is known when this is compiled and the loops over the points are then unrolled.
        points = tuple(range(self.factor.shape[2]))
        _add_contributions(
            np.ascontiguousarray(values, dtype=np.float32),
            points,
            self.starts,
            self.parent,
            self.feature,
            self.threshold,
            self.is_left,
            self.above,
            self.value,
            self.factor,
            self.weight,
            out,
        )
        return out


def _walk(tree: dict[str, Any], steps: list[tuple[Any, ...]]) -> int:
    """Append the nodes of one tree; returns the most features that a path asks for."""
    left, right, covers = tree["left_children"], tree["right_children"], tree["sum_hessian"]
    splits, conditions = tree["split_indices"], tree["split_conditions"]
    first, most = len(steps), 0
    # Node, step to it, last step of the path for each feature.
    waiting: list[tuple[int, tuple[Any, ...], dict[int, int]]] = [(0, (0, 0, 0.0, False, 0, 1.0), {})]
    while waiting:
        node, step, last = waiting.pop()
        at, is_leaf = len(steps) - first, left[node] < 0
        steps.append((*step, conditions[node] if is_leaf else 0.0))
        if at > 0:
            last = last | {step[1]: at}
        most = max(most, len(last))
        if is_leaf:
            continue
        feature = splits[node]
        above = last.get(feature, 0)
        share_above = steps[first + above][5]
        for child, is_left in ((left[node], True), (right[node], False)):
            share = share_above * max(covers[child] / covers[node], _LEAST_SHARE)
            waiting.append((child, (at, feature, conditions[node], is_left, above, share), last))
    return most


@numba.njit(cache=True)
def _add_contributions(
    values: np.ndarray,
    points: tuple[int, ...],
    starts: np.ndarray,
    parent: np.ndarray,
    feature: np.ndarray,
    threshold: np.ndarray,
    is_left: np.ndarray,
    above: np.ndarray,
    value: np.ndarray,
    factor: np.ndarray,
    weight: np.ndarray,
    out: np.ndarray,
) -> None:
    """Down each tree the products of the factors, up again the sums over the leaves below a node, a tree at a time for
    all rows, so that its nodes stay in the processor's cache. Positions are unsigned: for signed ones a compiled loop
    asks each time whether they count from the end.
    """
    largest = np.diff(starts).max()
    known = np.empty(largest, np.uint8)
    product = np.empty((largest, len(points)))
    below = np.empty((largest, len(points)))
    for tree in range(len(starts) - 1):
        nodes = slice(starts[tree], starts[tree + 1])
        parents, features, thresholds, lefts = parent[nodes], feature[nodes], threshold[nodes], is_left[nodes]
        earlier, leaves, factors, weights = above[nodes], value[nodes], factor[nodes], weight[nodes]
        n = np.uint64(len(parents))
        for row in range(len(values)):
            for point in range(len(points)):
                product[0, point] = 1.0
                below[0, point] = 0.0
            for at in range(np.uint64(1), n):
                before, same = parents[at], earlier[at]
                is_met = (values[row, features[at]] < thresholds[at]) == lefts[at]
                if same == 0:
                    o = np.uint8(is_met)
                    for point in range(len(points)):
                        product[at, point] = product[before, point] * factors[at, o, point]
                else:
                    o = np.uint8(is_met and known[same] == 1)
                    for point in range(len(points)):
                        step = factors[at, o, point] / factors[same, known[same], point]
                        product[at, point] = product[before, point] * step
                known[at] = o
                for point in range(len(points)):
                    below[at, point] = leaves[at] * product[at, point]
            for back in range(np.uint64(1), n):
                at = n - back  # type: ignore[assignment]  # compiled, ``at`` is a uint64 above, too
                before, same = parents[at], earlier[at]
                added = 0.0
                for point in range(len(points)):
                    below[before, point] += below[at, point]
                    added += below[at, point] * weights[at, known[at], point]
                if same != 0:  # what lies below counts with its last step for the feature only
                    for point in range(len(points)):
                        added -= below[at, point] * weights[same, known[same], point]
                out[row, features[at]] += added

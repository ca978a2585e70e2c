"""How strange a transaction is, whatever labels say: an isolation forest, walked in compiled code.

A model knows the frauds it was shown. A forest knows only what is usual, so a kind of fraud that nobody has labelled
yet can stand out in it. What it finds strangest goes to the review sample; it never flags.

A strange row is isolated by few random cuts. The score is 1 / (1 + mean path / expected path), which orders rows as the
usual 2 ** (-mean path / expected path) does, but is made of nothing that differs between processors in its last bit.
Merchant risk is left out, because it is made from labels, and so is the day of the week, which is the same all day.
"""

import base64
import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numba
import numpy as np
import polars as pl

from fraud_core.features.merchant_risk import MERCHANT_FEATURES
from fraud_core.features.table import FEATURES

if TYPE_CHECKING:
    from sklearn.tree._tree import Tree

TREES = 64
SAMPLES = 512  # rows a tree is grown from
ABOVE_ALL = 2.0  # a limit that no score reaches

_COLUMNS = np.array([at for at, name in enumerate(FEATURES) if name not in (*MERCHANT_FEATURES, "day_of_week")])
_NODE = np.dtype([("value", "<f4"), ("feature", "<i2"), ("right", "<u2")])
"""``feature`` < 0: a leaf, whose path length is ``value``. Else rows with feature <= value go to the next node, others
to the node ``right`` of the same tree."""
_BLOCK = 256  # rows that stay in the cache while all trees are walked


@dataclass(frozen=True)
class AnomalyDetector:
    """nodes : trees one after the other, tree t in [starts[t], starts[t + 1]). limit : what scores at or above it is
    strange enough to be reviewed."""

    nodes: np.ndarray
    starts: np.ndarray
    limit: float

    def score(self, values: np.ndarray) -> np.ndarray:
        """(n,) float64 in (0, 1), higher is stranger, of (n, len(FEATURES)) values.

        The same bits for a row in whatever batch it comes: comparisons, and one sum in the order of the trees.
        """
        rows = np.ascontiguousarray(values, dtype=np.float32)
        paths = np.zeros(len(rows))
        _walk(rows, *self._steps, self.starts, paths)
        return 1 / (1 + paths / ((len(self.starts) - 1) * _expected_path(SAMPLES)))

    @cached_property
    def _steps(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of each node value, feature and the node to go to when the feature is not and is above the value, for a leaf
        itself; of each tree how many steps reach its deepest leaf."""
        is_leaf, here = self.nodes["feature"] < 0, np.arange(len(self.nodes))
        root = np.repeat(self.starts[:-1], np.diff(self.starts))
        onward = np.where(is_leaf, here, [here + 1, root + self.nodes["right"]]).T
        depth = np.zeros(len(self.nodes), np.int64)
        for node in np.flatnonzero(~is_leaf):  # parents come before their children
            depth[onward[node]] = depth[node] + 1
        feature = np.where(is_leaf, 0, self.nodes["feature"])
        value = np.ascontiguousarray(self.nodes["value"])
        return value, feature, onward.astype(np.int32, order="C"), np.maximum.reduceat(depth, self.starts[:-1])

    def to_text(self) -> str:
        """As a model carries it."""
        nodes = base64.b64encode(self.nodes.tobytes()).decode()
        return json.dumps({"limit": self.limit, "starts": self.starts.tolist(), "nodes": nodes})

    @classmethod
    def from_text(cls, text: str) -> Self:
        stored = json.loads(text)
        nodes = np.frombuffer(base64.b64decode(stored["nodes"]), _NODE)
        return cls(nodes, np.array(stored["starts"], dtype=np.int64), stored["limit"])


def fit_anomaly_detector(rows: pl.DataFrame, share: float, seed: int) -> AnomalyDetector:
    """A forest, and the limit that ``share`` of transactions reach. Labels are not asked for.

    rows : event_time_ms and FEATURES. The newest quarter sets the limit and the others grow the forest, because rows
        that grew it look usual to it. share 0: the limit is ABOVE_ALL.
    """
    # Here and not above: the import takes a second, and whoever serves a model needs none of it.
    from sklearn.ensemble import IsolationForest

    values = rows.sort("event_time_ms", maintain_order=True).select(FEATURES).to_numpy()
    values, later = np.split(values, [len(values) * 3 // 4])
    forest = IsolationForest(n_estimators=TREES, max_samples=SAMPLES, random_state=seed, n_jobs=1)
    forest.fit(_squeezed(values[:, _COLUMNS]))
    trees = [_nodes(fitted.tree_) for fitted in forest.estimators_]
    starts = np.concatenate([[0], np.cumsum([len(tree) for tree in trees])])
    detector = AnomalyDetector(np.concatenate(trees), starts, ABOVE_ALL)
    if not share:
        return detector
    return replace(detector, limit=float(np.quantile(detector.score(later), 1 - share, method="higher")))


def _squeezed(values: np.ndarray) -> np.ndarray:
    """Cuts are drawn evenly between the extremes: between amounts of 1 and 10,000 nearly all would lie above 100."""
    squeezed: np.ndarray = np.sign(values) * np.log1p(np.abs(values))
    return squeezed


def _nodes(tree: "Tree") -> np.ndarray:
    """A grown tree as _NODE, its cuts in the unit of the feature again."""
    left, right, samples = tree.children_left, tree.children_right, tree.n_node_samples
    is_leaf = left < 0
    depth = np.zeros(tree.node_count)
    for node in np.flatnonzero(~is_leaf):  # parents come before their children, and the left child right after
        depth[[left[node], right[node]]] = depth[node] + 1
    cuts = np.sign(tree.threshold) * np.expm1(np.abs(tree.threshold))
    nodes = np.zeros(tree.node_count, _NODE)
    nodes["value"] = np.where(is_leaf, depth + [_expected_path(n) for n in samples], cuts)
    nodes["feature"] = np.where(is_leaf, -1, _COLUMNS[tree.feature])
    nodes["right"] = np.where(is_leaf, 0, right)
    return nodes


def _expected_path(n: int) -> float:
    """Mean number of random cuts that isolate one of n rows (of an unsuccessful search in a binary tree)."""
    return 2 * (np.log(n - 1) + np.euler_gamma) - 2 * (n - 1) / n if n > 2 else float(n == 2)


@numba.njit(cache=True)
def _walk(
    rows: np.ndarray,
    value: np.ndarray,
    feature: np.ndarray,
    onward: np.ndarray,
    steps: np.ndarray,
    starts: np.ndarray,
    paths: np.ndarray,
) -> None:
    """Add each tree's path length to ``paths``, (n,) float64; one block of rows after the other.

    Four rows go down a tree at once, without a branch that the processor could guess wrong: three times as fast as one
    after the other.
    """
    for begin in range(0, len(rows), _BLOCK):
        end = min(begin + _BLOCK, len(rows))
        for tree in range(len(starts) - 1):
            row = begin
            while row + 4 <= end:
                a = b = c = d = starts[tree]
                for _ in range(steps[tree]):
                    a = onward[a, np.int64(rows[row, feature[a]] > value[a])]
                    b = onward[b, np.int64(rows[row + 1, feature[b]] > value[b])]
                    c = onward[c, np.int64(rows[row + 2, feature[c]] > value[c])]
                    d = onward[d, np.int64(rows[row + 3, feature[d]] > value[d])]
                paths[row] += value[a]
                paths[row + 1] += value[b]
                paths[row + 2] += value[c]
                paths[row + 3] += value[d]
                row += 4
            while row < end:
                a = starts[tree]
                for _ in range(steps[tree]):
                    a = onward[a, np.int64(rows[row, feature[a]] > value[a])]
                paths[row] += value[a]
                row += 1

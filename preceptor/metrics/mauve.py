"""MAUVE: how near the distribution of model texts is to that of human texts, both too much and too little counted.

Pillutla et al. 2021 (arXiv 2102.01454; arXiv 2212.14578 for the smoothing). Texts are features, for instance a language
model's last hidden state at their last token. They are put into k clusters; with p and q the shares of the clusters,
r = w p + (1 - w) q, and c = 5, the curve of (exp(-c KL(q, r)), exp(-c KL(p, r))) over w has the area that is MAUVE.

Written from the papers; the published program is under the GPL. What clusters are found moves the figure by one or two
points, and so does the number of texts (1 000 each at least): compare figures of one program, at equal numbers.
"""

import numpy as np

SCALE = 5.0
MIXTURES = 25
VARIANCE_KEPT = 0.9
ROUNDS = 100
STARTS = 3


def mauve(human: np.ndarray, model: np.ndarray, *, clusters: int = 0, seed: int = 0) -> float:
    """MAUVE of features (N, D) of human texts and (M, D) of model texts, from 0 to 1.

    Args:
        clusters: how many; 0 takes a tenth of the smaller number of texts.
        seed: of the clustering.

    Raises:
        ValueError: there are fewer than two clusters, or the features differ in width.
    """
    clusters = clusters or min(len(human), len(model)) // 10
    if clusters < 2 or human.shape[1:] != model.shape[1:]:
        raise ValueError(f"MAUVE needs two clusters or more and features of one width, not {clusters} clusters of "
                         f"{human.shape} and {model.shape}")
    features = _principal(np.concatenate([human, model]).astype(np.float64))
    labels = cluster(features, clusters, np.random.default_rng(seed))
    p, q = (np.bincount(part, minlength=clusters) for part in (labels[:len(human)], labels[len(human):]))
    return frontier_area(_smoothed(p), _smoothed(q))


def frontier_area(p: np.ndarray, q: np.ndarray) -> float:
    """The area under the divergence curve of two distributions without zeros; the mean over both axes."""
    curve = [(0.0, 1.0)]
    for weight in np.linspace(1e-6, 1 - 1e-6, MIXTURES):
        mixture = weight * p + (1 - weight) * q
        curve.append((np.exp(-SCALE * _kl(q, mixture)), np.exp(-SCALE * _kl(p, mixture))))
    points = np.array([*curve, (1.0, 0.0)])
    along_x, along_y = points[np.argsort(points[:, 0], kind="stable")], points[np.argsort(points[:, 1], kind="stable")]
    return float((np.trapezoid(along_x[:, 1], along_x[:, 0]) + np.trapezoid(along_y[:, 0], along_y[:, 1])) / 2)


def cluster(features: np.ndarray, count: int, draw: np.random.Generator) -> np.ndarray:
    """K-means (Lloyd 1982, begun as Arthur and Vassilvitskii 2007): the label of each row; the best of three starts."""
    best, best_cost = None, np.inf
    for _ in range(STARTS):
        centres = _spread(features, count, draw)
        for _ in range(ROUNDS):
            labels, cost = _nearest(features, centres)
            sums = np.zeros_like(centres)
            np.add.at(sums, labels, features)
            sizes = np.bincount(labels, minlength=count)[:, None]
            moved = np.where(sizes > 0, sums / np.maximum(sizes, 1), centres)
            if np.allclose(moved, centres):
                break
            centres = moved
        if cost.sum() < best_cost:
            best, best_cost = labels, cost.sum()
    return best


def _spread(features: np.ndarray, count: int, draw: np.random.Generator) -> np.ndarray:
    """First centres, each drawn in proportion to the squared distance from those before it."""
    centres = [features[draw.integers(len(features))]]
    distance = np.square(features - centres[0]).sum(-1)
    while len(centres) < count:
        chances = distance / distance.sum() if distance.sum() > 0 else None
        centres.append(features[draw.choice(len(features), p=chances)])
        distance = np.minimum(distance, np.square(features - centres[-1]).sum(-1))
    return np.array(centres)


def _nearest(features: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centre of each row, and the squared distance to it."""
    squares = np.square(features).sum(-1)[:, None] - 2 * features @ centres.T + np.square(centres).sum(-1)
    labels = squares.argmin(-1)
    return labels, np.maximum(squares[np.arange(len(features)), labels], 0)


def _principal(features: np.ndarray) -> np.ndarray:
    """Unit vectors along the principal components that hold 90 % of the variance."""
    features = features / np.maximum(np.linalg.norm(features, axis=-1, keepdims=True), 1e-12)
    centred = features - features.mean(0)
    _, scales, directions = np.linalg.svd(centred, full_matrices=False)
    share = np.cumsum(np.square(scales)) / max(np.square(scales).sum(), 1e-300)
    return centred @ directions[:int(np.searchsorted(share, VARIANCE_KEPT)) + 1].T


def _smoothed(counts: np.ndarray) -> np.ndarray:
    """Shares with half a text added to every cluster (Krichevsky and Trofimov 1981)."""
    return (counts + 0.5) / (counts + 0.5).sum()


def _kl(p: np.ndarray, q: np.ndarray) -> float:
    return float((p * np.log(p / q)).sum())

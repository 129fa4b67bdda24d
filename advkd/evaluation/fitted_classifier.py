"""A classifier of images by their features, for classes that no extractor reads: scikit-learn's linear discriminant.

It is fitted to the teacher's images and their labels, in two halves that have every other image of each class: each
half is read by the classifier of the other. So no image is read by a classifier that has seen the teacher's image from
the same noise, which would be kinder to the teacher, and to a student that is near to it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

MIN_OF_CLASS = 16
"""Images of a class, on average and of two classes at least, from which a classifier is fitted: eight in each half."""


def read_by_fitted(fitted_to: Tensor, labels: Tensor, read: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Returns for each set of images whether they are read as their class: bool `[N]` each.

    The covariance within classes is shrunk (Ledoit and Wolf 2004), since there may be fewer images than dimensions. All
    classes are taken to be as frequent.

    Args:
        fitted_to: features of images, `[N, D]`.
        labels: their classes, int64 `[N]`, with at least two images of two of them.
        read: features of images with the same labels, from the same noises, `[N, D]` each.
    """
    # Takes half a second, which other evaluations need not wait for.
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    right = tuple(torch.zeros(len(labels), dtype=torch.bool) for _ in read)
    numbers, parity = labels.numpy(), torch.empty_like(labels)
    parity[labels.argsort(stable=True)] = torch.arange(len(labels)) % 2
    for half in (0, 1):
        seen, unseen = parity != half, parity == half
        classes = len(np.unique(numbers[seen]))
        classifier = LinearDiscriminantAnalysis("lsqr", shrinkage="auto", priors=np.full(classes, 1 / classes))
        classifier.fit(fitted_to[seen].double().numpy(), numbers[seen])
        for marks, features in zip(right, read, strict=True):
            told = classifier.predict(features[unseen].double().numpy())
            marks[unseen] = torch.from_numpy(told == numbers[unseen])
    return right

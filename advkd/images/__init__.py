"""Sets of real images by URI: folders, zips, tars and Parquet of pictures, resized by one rule; and their features."""

from advkd.images.errors import ImageSetError
from advkd.images.image_set import ImageSet
from advkd.images.opening import DIGITS, REAL_DIGITS, open_images
from advkd.images.pictures import RULE
from advkd.images.streaming import STATISTICS, extracted, published_statistics, real_features

__all__ = [
    "DIGITS",
    "REAL_DIGITS",
    "RULE",
    "STATISTICS",
    "ImageSet",
    "ImageSetError",
    "extracted",
    "open_images",
    "published_statistics",
    "real_features",
]

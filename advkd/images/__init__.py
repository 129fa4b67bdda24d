"""Sets of real images by URI: folders, zips, tars and Parquet of pictures, resized by one rule; and their features."""

from advkd.images.errors import ImageSetError
from advkd.images.image_set import ImageSet
from advkd.images.opening import DIGITS, REAL_DIGITS, open_images
from advkd.images.pictures import RULE
from advkd.images.streaming import Extracting, extracted, real_features

__all__ = [
    "DIGITS",
    "REAL_DIGITS",
    "RULE",
    "Extracting",
    "ImageSet",
    "ImageSetError",
    "extracted",
    "open_images",
    "real_features",
]

"""Where on Earth is an image? (being moved)"""
from polars_rasteret.collection.footprints import *  # noqa: F403

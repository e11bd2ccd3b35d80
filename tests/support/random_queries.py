"""Queries drawn from a seed: predicates nested to any depth, between steps that keep, cut, rename and combine rows."""

from __future__ import annotations

import random

import polars as pl

NUMBERS = {
    "eo:cloud_cover": (5, 10, 15, 30, 50),
    "serial": (0, 1, 2, 3, 5, 6),
    "weight": (500, 2_000, 4_000, 6_000),
    "swir": (3, 10, 20),
    "point": (5, 20, 40),
    "red": (500, 1_500, 3_000),
    "nir": (800, 2_500),
    "swir_right": (-1_000, 0, 700),
    "temp": (50, 300),
}
TEXTS = {
    "record_id": ("A", "B", "D"),
    "crop": ("maize", "wheat"),
    "platform": ("s2a", "s2b"),
    "platform_right": ("s2a", "s2b"),
}
TIMES = ("datetime", "planting", "harvest")


def _by_python(value: float | None) -> bool:
    """Neither true of nulls nor false of numbers alone, and nothing that Polars could write itself."""
    return str(value)[0] in "123-"


def predicate(chance: random.Random, columns: set[str], depth: int) -> pl.Expr:
    if depth and chance.random() < 0.65:
        left, right = predicate(chance, columns, depth - 1), predicate(chance, columns, depth - 1)
        match chance.randrange(9):
            case 0 | 1 | 2:
                return left & right
            case 3 | 4:
                return left | right
            case 5:
                return ~left
            case 6:
                return left.fill_null(value=chance.random() < 0.5)
            case 7:
                return left.is_null() if chance.random() < 0.5 else left.eq_missing(right)
            case _:
                return pl.when(left).then(right).otherwise(~right)
    return atom(chance, columns)


def atom(chance: random.Random, columns: set[str]) -> pl.Expr:
    numbers = sorted(columns & NUMBERS.keys())
    texts = sorted(columns & TEXTS.keys())
    times = sorted(columns & set(TIMES))
    kind = chance.randrange(12)
    if kind <= 4 and numbers:
        name = chance.choice(numbers)
        limit = chance.choice(NUMBERS[name])
        return pl.col(name) > limit if chance.random() < 0.5 else pl.col(name) <= limit
    if kind <= 6 and len(numbers) > 1:
        one, other = chance.sample(numbers, 2)
        return pl.col(one).cast(pl.Float64) * chance.choice([1, 10, 100]) > pl.col(other).cast(pl.Float64)
    if kind <= 8 and texts:
        name = chance.choice(texts)
        value = chance.choice(TEXTS[name])
        return chance.choice(
            [
                pl.col(name) == value,
                pl.col(name).ne_missing(value),
                pl.col(name).is_in([value, "C"]),
                pl.col(name).is_null(),
            ]
        )
    if kind == 9 and len(times) > 1:
        one, other = chance.sample(times, 2)
        return chance.choice(
            [pl.col(one) < pl.col(other), pl.col(one).is_null(), pl.col(one).dt.day() == pl.col(other).dt.day()]
        )
    if kind == 10 and numbers:
        return pl.col(chance.choice(numbers)).is_null()
    if kind == 11 and numbers:
        skips = chance.random() < 0.5
        return pl.col(chance.choice(numbers)).map_elements(_by_python, return_dtype=pl.Boolean, skip_nulls=skips)
    return pl.lit(value=chance.random() < 0.8)


def step(chance: random.Random, lf: pl.LazyFrame, columns: set[str]) -> tuple[pl.LazyFrame, set[str]]:
    kind = chance.randrange(14)
    if kind <= 6:
        return lf.filter(predicate(chance, columns, chance.randrange(4))), columns
    if kind == 7:
        return lf.filter(predicate(chance, columns, 1), predicate(chance, columns, 1)), columns
    if kind == 8:
        return lf.head(chance.choice([0, 1, 7, 60, 120])), columns
    if kind == 9:
        return lf.slice(chance.randrange(30), chance.choice([3, 50, None])), columns
    if kind == 10:
        keep = {name for name in columns if chance.random() < 0.7} or columns
        order = sorted(keep)
        chance.shuffle(order)
        return lf.select(order), keep
    if kind == 11:
        return lf.tail(chance.choice([5, 100])), columns
    if kind == 12:
        numbers = sorted(columns & NUMBERS.keys())
        if not numbers:
            return lf, columns
        name = chance.choice(numbers)
        return lf.with_columns(pl.col(name).fill_null(0)), columns
    if "point" in columns:
        return lf.with_columns(pl.len().over("point").alias("n")), columns
    return lf.with_row_index("n") if "n" not in lf.collect_schema() else lf, columns


def query(seed: int, lf: pl.LazyFrame) -> pl.LazyFrame:
    chance = random.Random(seed)
    columns = set(lf.collect_schema())
    for _ in range(chance.randrange(1, 5)):
        lf, columns = step(chance, lf, columns)
    if chance.random() < 0.15:
        return lf.select(pl.len())
    if chance.random() < 0.15:
        return pl.concat([lf, lf.filter(predicate(chance, columns, 1))])
    return lf

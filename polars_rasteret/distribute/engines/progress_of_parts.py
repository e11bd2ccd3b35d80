"""How is the progress of a query in parts shown?"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from polars_rasteret.options import current_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def progress_of_parts(n_parts: int, n_done: int) -> Iterator[Callable[[int], None]]:
    """Yield ``tell(n_bytes)``, by which a part that is done moves the bar; there is a bar under ``pr.options(progress=True)``."""
    if not current_options().progress:
        yield lambda _n_bytes: None
        return
    from tqdm.auto import tqdm

    n_read = 0
    with tqdm(total=n_parts, initial=n_done, unit="part", desc="read") as bar:

        def tell(n_bytes: int) -> None:
            nonlocal n_read
            n_read += n_bytes
            bar.set_postfix_str(f"{n_read / 1e6:,.1f} MB", refresh=False)
            bar.update()

        yield tell

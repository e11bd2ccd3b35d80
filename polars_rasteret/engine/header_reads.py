"""How is the header of one file read, range by range, from a file that may change meanwhile?

The header parser yields byte ranges; a `StepwiseRead` brings their bytes, on fetch threads. What a header is read for, and what
becomes of one that cannot be read, belongs to the callers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polars_rasteret.errors import FetchError, FileFormatError, StaleIndexError, UsageError
from polars_rasteret.fetch.sources.byte_source import FileKey
from polars_rasteret.fetch.stepwise_reads import FileRange
from polars_rasteret.hrefs import shown
from polars_rasteret.tiff.header import read_header

if TYPE_CHECKING:
    from polars_rasteret.fetch.sources.byte_source import Terms
    from polars_rasteret.fetch.stepwise_reads import StepwiseRead
    from polars_rasteret.tiff.header import TiffFile


def header_read(
    href: str, terms: Terms | None
) -> StepwiseRead[tuple[TiffFile | FetchError | FileFormatError | UsageError, FileKey]]:
    """Read one header to its end; the size, ETag and time of the first answer must hold for the other answers.

    Returns
    -------
    tuple
        The header, or the error why it could not be read; and the key of the file with what is known of it by then.
    """
    known, is_known = FileKey(href, terms=terms), False
    try:
        parser = read_header(shown(href))
        wanted = next(parser)
        while True:
            try:
                answer = yield FileRange(known, wanted.byte_start, wanted.byte_stop)
            except StaleIndexError as error:
                raise StaleIndexError(
                    f"{shown(href)}: the file changed while its header was read. Build again once it is complete. ({error})"
                ) from error
            if not is_known:
                known, is_known = FileKey(href, answer.etag, answer.file_size, answer.last_modified, terms), True
            try:
                wanted = parser.send(bytes(answer.data))
            except StopIteration as stop:
                return stop.value, known
    except (FetchError, FileFormatError, UsageError) as error:
        return error, known

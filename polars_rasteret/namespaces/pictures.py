"""Which method of ``.raster`` draws a collection? It documents a call and passes it on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from polars_rasteret.options import OnError


class Pictures:
    """The method that draws a collection."""

    def __init__(self, lf: pl.LazyFrame) -> None:
        self._lf = lf

    def plot(
        self,
        bands: str | Sequence[str] | None = None,
        *,
        on_map: bool = False,
        bounds: tuple[float, float, float, float] | None = None,
        crs: Any = None,
        pixels: int = 512,
        percentiles: tuple[float, float] = (2, 98),
        limits: tuple[float, float] | None = None,
        stretch: Literal["together", "each"] | None = None,
        cmap: Any = None,
        resampling: str = "average",
        label: str | None = "id",
        columns: int = 4,
        max_pictures: int = 24,
        unscale: bool = False,
        on_error: OnError | None = None,
        ax: Any = None,
    ) -> Any:
        """Draw the outlines of the records on a map, or a picture of each record, with matplotlib.

        A picture reads the overview that GDAL would choose for its size. Null pixels are transparent.

        Parameters
        ----------
        bands
            None: outlines, nothing is read. One band: drawn with a colour map. Three: red, green and blue.
        on_map
            Whether the pictures are laid on one map in longitude and latitude, below the outlines. Else each record has axes of
            its own, in the CRS of the record.
        bounds, crs
            Box to show, and its CRS; records that do not meet it are left out. None: whole images.
        pixels
            Most pixels of a picture along its longer side.
        percentiles
            Percentiles of the valid pixels that become the darkest and the brightest colour, for each band.
        limits
            Values of the darkest and the brightest colour, instead of percentiles.
        stretch
            ``"together"``: percentiles of all pictures, so that colours mean the same in each. ``"each"``: picture by picture.
            None: together for one band, each for three.
        cmap
            Name of a colour map, or a Colormap, for one band. None: matplotlib's own choice.
        resampling
            How pixels are reduced to the picture, as in `read_windows`; ``"nearest"`` for classes.
        label
            Column with the title of each picture; None: no titles.
        columns
            Pictures in a row of the figure.
        max_pictures
            Most records that are read and drawn; more are an error.
        unscale
            Whether the values are ``value * scale + offset``.
        on_error
            As in `sample_points`; with ``"null"`` a record that cannot be read has an empty picture.
        ax
            Axes to draw on: of a map, or of the picture of one record; no colour bar is added to it. None: a new figure.

        Returns
        -------
        matplotlib.axes.Axes or numpy.ndarray of Axes
            The map, or the axes of each picture. ``axes[0].figure`` is the figure.

        Raises
        ------
        UsageError
            When matplotlib is not installed (extra ``plot``), when bands are neither one nor three, when no record meets
            `bounds`, or when there are more than `max_pictures` records.

        Examples
        --------
        >>> import polars_rasteret as pr
        >>> scenes = pr.testing.example_scenes()
        >>> outlines = scenes.raster.plot()
        >>> outlines.get_xlabel()
        'longitude'
        >>> pictures = scenes.raster.plot("red", cmap="magma")
        >>> [picture.get_title() for picture in pictures]
        ['first', 'second']
        >>> pictures[0].figure.savefig("red.png")  # doctest: +SKIP
        """
        from polars_rasteret.pictures.plot import plot

        return plot(
            self._lf,
            bands,
            on_map=on_map,
            bounds=bounds,
            crs=crs,
            pixels=pixels,
            percentiles=percentiles,
            limits=limits,
            stretch=stretch,
            cmap=cmap,
            resampling=resampling,
            label=label,
            columns=columns,
            max_pictures=max_pictures,
            unscale=unscale,
            on_error=on_error,
            ax=ax,
        )

"""How are GeoTIFF bytes laid out, and how do they become pixels? No I/O: parsers ask for byte ranges, callers answer.

::

    header         read_header: which bytes to read of a file, and what they say (TiffFile)
      known_bytes    which bytes are here, which must be asked for (ByteRange)
      directories    the chain of directories; tags: their entries
      layout         one image: grid, tiles, samples, compression; refuses what cannot be decoded
      placement      one image: where its tiles lie
      georeference   the transform; geokeys, user_crs: the CRS
      masks          which images and samples say where there is nothing: internal masks, alpha
      gdal_metadata  nodata, scale, offset, description, colour
    tile_table     pack, unpack: all of that for one band in a few hundred bytes (BandTiles)
      tile_positions tables of offsets and counts as few numbers
    codec          TileCodec: the bytes of a tile to pixels; inflate, lerc, lzw_check, pictures: decompression; packed_bits
"""

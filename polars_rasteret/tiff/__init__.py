"""How are GeoTIFF bytes laid out, and how do they become pixels?

No I/O: a parser asks for byte ranges, its caller answers with bytes.

::

    header           read_header: a generator that asks for header bytes and returns a TiffFile
      received_bytes   the header bytes received so far, and the ranges still missing (ByteRange)
      directories      the chain of directories; tags: their entries
      layout           one image: size, tiles, samples, compression; raises for images that cannot be decoded
      tile_offsets     one image: offset and byte count of each tile
      georeference     the transform; geokeys, user_crs, user_datum: the CRS
      masks            internal masks and alpha bands of an image
      gdal_metadata    nodata, scale, offset, description, colour
    band_tiles       BandTiles, Image: pixel format and tile offsets of one band
      tile_table       pack, unpack: BandTiles in a few hundred bytes
      tile_flags       the first byte of packed tiles
      offset_packing   tables of tile offsets and byte counts as few numbers
    codec            TileCodec: the bytes of a tile to pixels
      inflate, lerc, lzw_check, picture_codecs   decompression
      packed_bits, colours                       samples that fill no whole bytes; CMYK and YCbCr to RGB
"""

"""How much a reader accepts of what strangers send."""

from __future__ import annotations

from dataclasses import dataclass

UNSUSPICIOUS = 16 << 20
"""Decompressed bytes up to which any ratio is fine: an archive of tiny files is mostly padding."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of the readers; all sizes in bytes.

    max_pixels: of one image, by its header, before anything is decoded.
    max_aspect_ratio: longer side over shorter side; beyond it a resize to a square crop would need gigabytes.
    max_image_bytes, max_caption_bytes, max_metadata_bytes: of one member. A longer caption is rejected,
    not cut: what is that long is not a caption, and half of it is not what the uploader wrote. Larger
    metadata is dropped, also that within an image file. max_text_bytes: captions and metadata of one archive
    together, which are held in memory while it is read.
    max_table_bytes: of one file with the captions of many images. max_page_bytes: of one page of Parquet,
    unpacked. max_captions: of one image. max_entries: members of one archive, of any kind. max_rows: of one
    table.
    max_decompressed_bytes: of one archive, counted as they flow. max_compression_ratio: decompressed over
    compressed bytes, of zip members, compressed tars and Parquet. max_name_bytes: of a member's name.
    max_key_bytes: of a sample's key in UTF-8; a shard's members are called by it, URLs and cursors hold it.
    max_samples_per_shard: where `write_shard` stops.
    """

    max_pixels: int = 50_000_000
    max_aspect_ratio: float = 100.0
    max_image_bytes: int = 64 * 1024 * 1024
    max_caption_bytes: int = 64 * 1024
    max_metadata_bytes: int = 64 * 1024
    max_text_bytes: int = 512 * 1024 * 1024
    max_table_bytes: int = 256 * 1024 * 1024
    max_page_bytes: int = 1024**3
    max_captions: int = 32
    max_entries: int = 300_000
    max_rows: int = 1_000_000
    max_decompressed_bytes: int = 256 * 1024**3
    max_compression_ratio: float = 100.0
    max_name_bytes: int = 512
    max_key_bytes: int = 500
    max_samples_per_shard: int = 10_000


DEFAULT_LIMITS = Limits()

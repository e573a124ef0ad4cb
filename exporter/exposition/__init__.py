"""Encoding of what is published: view → fragments → snapshot; pure, except for `publisher`.

A fragment holds the lines of one job in one family and is rendered again when the job has changed. A piece
holds the fragments of one family for some neighbouring jobs, and is compressed separately. A snapshot joins
all pieces; the exporter's own metrics are appended at each scrape.
"""

from exporter.exposition.encoder import Encoder
from exporter.exposition.formats import Format
from exporter.exposition.renderer import Renderer
from exporter.exposition.snapshot import Snapshot

__all__ = ["Encoder", "Format", "Renderer", "Snapshot"]

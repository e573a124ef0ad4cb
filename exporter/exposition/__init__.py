"""What is published, as bytes: view → fragments → snapshot; pure.

A job's lines of one family are a fragment, rendered when what they show has changed. The fragments of a
family and of some neighbouring jobs are a piece, compressed by itself. A snapshot is the join of all pieces;
what must be live is appended to it at each scrape.
"""

from exporter.exposition.encoder import Encoder
from exporter.exposition.formats import Format
from exporter.exposition.renderer import Renderer
from exporter.exposition.snapshot import Snapshot

__all__ = ["Encoder", "Format", "Renderer", "Snapshot"]

"""Files and directories that are whole or absent, whatever happens while they are written.

Everything that kgscale keeps is written beside its place, on the same file system, forced to disk,
and moved there in one step; a directory has a manifest with the hashes of what it holds. See
``docs/trust.md`` for what that guarantees.
"""

from kgscale.durable.manifest import (
    MANIFEST,
    block_hashes,
    check_manifest,
    file_hash,
    first_difference,
    hash_files,
    read_manifest,
    write_manifest,
)
from kgscale.durable.places import (
    alone,
    remove_directory,
    sync,
    whole_directory,
    whole_file,
    write_text,
)

__all__ = [
    "MANIFEST",
    "alone",
    "block_hashes",
    "check_manifest",
    "file_hash",
    "first_difference",
    "hash_files",
    "read_manifest",
    "remove_directory",
    "sync",
    "whole_directory",
    "whole_file",
    "write_manifest",
    "write_text",
]

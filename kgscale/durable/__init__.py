"""Files and directories that are whole or absent, whatever happens while they are written.

Stores, models, checkpoints, results and predictions are written beside their place, on the same
file system, forced to disk, and moved there in one step; stores, models and checkpoints have a
manifest with the hashes of what they hold. Logs of training and a study's data base are not.
"""

from kgscale.durable.manifest import (
    MANIFEST,
    check_manifest,
    file_hash,
    first_difference,
    hash_files,
    read_manifest,
    read_text,
    sealed,
    unsealed,
    write_manifest,
)
from kgscale.durable.places import (
    alone,
    disk_errors,
    lock_file,
    remove_directory,
    sweep_folder,
    sync,
    whole_directory,
    whole_file,
    whole_files,
    write_text,
)

__all__ = [
    "MANIFEST",
    "alone",
    "check_manifest",
    "disk_errors",
    "file_hash",
    "first_difference",
    "hash_files",
    "lock_file",
    "read_manifest",
    "read_text",
    "remove_directory",
    "sealed",
    "sweep_folder",
    "sync",
    "unsealed",
    "whole_directory",
    "whole_file",
    "whole_files",
    "write_manifest",
    "write_text",
]

"""Tensors out of a file that somebody else wrote: nothing in it is run, and it cannot ask for more than it holds."""

from __future__ import annotations

import mmap
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch._weights_only_unpickler import Unpickler
from torch.storage import TypedStorage, UntypedStorage

from gpt_experiments.errors import CheckpointError, shortened
from gpt_experiments.model.file_kinds import is_safetensors, require_weight_file

_ZIP: Final = b"PK\x03\x04"
_OLD_MAGIC: Final = (
    b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the number that torch.save wrote first before it wrote zip files
)
_SAVE: Final = "save it with torch.save(model.state_dict(), path)"
_WRAPPER_DEPTH: Final = 3
_WRAPPED_FIRST: Final = ("model", "state_dict", "model_state_dict")
_ADDED_BY_TORCH: Final = frozenset({"module", "_orig_mod"})
"""Parts that DataParallel and torch.compile put into every key."""


def read_state_dict(path: Path, marker: str) -> dict[str, Tensor]:
    """The state dict with a key that ends in `marker` out of the file at `path`, its keys without what was put before.

    The file is one of PyTorch's, new or old, or safetensors. The state dict may lie in dicts with other entries.
    Tensors are on the CPU, of any kind and type; where the file is a new one they are read when they are used.

    Raises:
        CheckpointError: the file is no such file, damaged, holds more than tensors and plain values, or no such state
            dict, or more than one; or its tensors are larger than the file.
    """
    where, head = shortened(path), require_weight_file(path)
    try:
        loaded = _load(path, head)
        state = _without_additions(_find_state_dict(loaded, marker, where), marker, where)
        declared = sum(tensor.numel() * tensor.element_size() for tensor in state.values() if not tensor.is_meta)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        if refused is None:
            raise CheckpointError(f"{where} is damaged or truncated; copy or download it again") from error
        raise CheckpointError(
            f"{where} holds more than tensors ({shortened(refused[1], 60)}), a whole module for instance; that is not "
            f"read, since it could run code; load it where it was written, and {_SAVE}"
        ) from error
    except Exception as error:  # whatever a reader meets in damaged bytes: there is no list of it
        reason = shortened(str(error).partition("\n")[0] or type(error).__name__, 100)
        raise CheckpointError(f"{where} is damaged or truncated ({reason}); copy or download it again") from error
    if declared > 2 * path.stat().st_size:  # twice, since two keys may share their values
        raise CheckpointError(f"{where} is damaged: it declares more values than it holds; copy or download it again")
    return state


def _load(path: Path, head: bytes) -> Any:
    """What the file holds, read by the reader for its kind."""
    size = path.stat().st_size
    if head.startswith(_ZIP):
        _refuse_requests_for_memory(path)
        _check_archive(path, size)
        return _torch_load(path, mapped=True)
    if head[2:].startswith(_OLD_MAGIC):
        _refuse_requests_for_memory(path)
        _check_old_file(path, size)
        return _torch_load(path, mapped=False)
    if is_safetensors(head, size):
        return load_file(path)
    what = "a pickle that torch.save did not write" if re.match(rb"\x80[\x02-\x05]", head) else "no PyTorch file"
    raise CheckpointError(f"{shortened(path)} is {what}, or damaged at its beginning; {_SAVE}")


def _torch_load(path: Path, *, mapped: bool) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of unusual pickle protocols; what cannot be read is an error
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)


def _refuse_requests_for_memory(path: Path) -> None:
    """Refuse the one call that torch allows in a pickle and that fills as much memory as the pickle asks for."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"\nbytearray\n") >= 0:
            raise CheckpointError(f"{shortened(path)} holds more than tensors (a bytearray); {_SAVE}")


def _check_archive(path: Path, size: int) -> None:
    """Look at the zip file's records before torch does, which checks neither their sizes nor their checksums."""
    where = shortened(path)
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        names = {record.filename.partition("/")[2] for record in records}
        if "constants.pkl" in names:
            raise CheckpointError(f"{where} is a TorchScript program, not a state dict; {_SAVE}")
        if "data.pkl" not in names:
            raise CheckpointError(f"{where} is a zip archive that torch.save did not write; unpack it, or {_SAVE}")
        if any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise CheckpointError(f"{where} has compressed records, which torch.save never writes; {_SAVE}")
        if sum(record.file_size for record in records) > size:
            raise CheckpointError(f"{where} is damaged: its records are larger than the file; download it again")
        for record in records:
            if record.CRC:  # 0 where torch was asked to write none
                with archive.open(record) as content:
                    while content.read(2**20):  # the last read raises where the checksum is another
                        pass


def _check_old_file(path: Path, size: int) -> None:
    """Read what an old file declares, without its values: torch takes memory for all of it before it reads any."""
    with path.open("rb") as file:
        for _ in range(4):  # the magic number, the version, what is said of the system, the state dict
            unpickler = _DeclaredStorages(file)
            unpickler.load()  # type: ignore[no-untyped-call]
    if sum(storage.nbytes() for storage in unpickler.storages.values()) > size:
        raise CheckpointError(f"{shortened(path)} declares more values than it holds; copy or download it again")


class _DeclaredStorages(Unpickler):
    """Rebuilds an old file's tensors on the meta device, where they have sizes and no values."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[Any, UntypedStorage] = {}

    def persistent_load(self, pid: tuple[Any, ...]) -> TypedStorage:
        _, storage_type, key, _, length, *_ = pid
        dtype = storage_type.dtype
        storage = self.storages.setdefault(key, UntypedStorage(length * dtype.itemsize, device="meta"))
        return TypedStorage(wrap_storage=storage, dtype=dtype, _internal=True)


def _find_state_dict(loaded: object, marker: str, where: str) -> Mapping[Any, Any]:
    """The one mapping with a key that ends in `marker`, or of several the one under a usual name."""
    found = dict(_state_dicts(loaded, marker, "", _WRAPPER_DEPTH))
    for name in ("", *_WRAPPED_FIRST):
        if name in found:
            return found[name]
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        names = ", ".join(shortened(name, 40) for name in list(found)[:3])
        raise CheckpointError(f"{where} holds {len(found)} models ({names}); save the state dict of one of them")
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"{where} holds a {type(loaded).__name__} that is not a state dict; {_SAVE}")
    keys = ", ".join(shortened(repr(key), 60) for key in list(loaded)[:3]) or "nothing"
    raise CheckpointError(
        f"{where} is not in the notebook's format: {marker!r} is missing; its keys begin with {keys}; "
        "give a state dict of the notebook's model"
    )


def _state_dicts(loaded: object, marker: str, name: str, depth: int) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Mappings with a key that ends in `marker`, each by the dotted names of the entries it lies in."""
    if not isinstance(loaded, Mapping):
        return
    if any(isinstance(key, str) and (key == marker or key.endswith("." + marker)) for key in loaded):
        yield name, loaded
    elif depth:
        for key, value in loaded.items():
            if isinstance(key, str):
                yield from _state_dicts(value, marker, f"{name}.{key}" if name else key, depth - 1)


def _without_additions(state: Mapping[Any, Any], marker: str, where: str) -> dict[str, Tensor]:
    """The state dict without what was put before and into its keys, such as `module.` or `_orig_mod.`."""
    tensors: dict[str, Tensor] = {}
    names = [_plain(key) for key in state if isinstance(key, str)]
    before = next(name for name in names if name == marker or name.endswith("." + marker)).removesuffix(marker)
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            what = f"a {type(value).__name__}" if isinstance(key, str) else "under a key that is no text"
            raise CheckpointError(
                f"{where} is not a plain state dict of tensors: {shortened(repr(key), 60)} is {what}; {_SAVE}"
            )
        name = _plain(key).removeprefix(before)
        if name in tensors:
            raise CheckpointError(f"{where} holds {shortened(name, 60)} twice; save the state dict of one model")
        tensors[name] = value
    return tensors


def _plain(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in _ADDED_BY_TORCH)

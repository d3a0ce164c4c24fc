"""The only kind of pickle that is read: the dictionaries of CIFAR-10 and CIFAR-100, as Python 2 wrote them.

A pickle is a program. Only the few operations in those files are allowed, and any other is refused before the program
runs. The only names that may be called are our own stand-ins, which build an array from its bytes, so the file cannot
run other code.
"""

import io
import pickle
import pickletools
from typing import TYPE_CHECKING, Any

from nrf_ray.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

OPERATIONS = {
    *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD"),
    *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "SHORT_BINSTRING", "BINSTRING"),
    *("EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_LIST", "APPEND", "APPENDS"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
}
"""Allowed operations, of protocol 2. None creates more than its bytes in the file, except LONG_BINPUT, whose numbers
are checked."""


class _Bytes:
    """Stand-in for a type of numpy: an array of unsigned bytes, or the type of its elements."""

    def __init__(self, *arguments: object) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Array(_Bytes):
    pass


class _Dtype(_Bytes):
    def __init__(self, name: object = None, *flags: object) -> None:
        super().__init__()
        self.name = name


def _reconstruct(*arguments: object) -> _Array:
    return _Array()


NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in NAMES:
            raise ConfigError(f"it names {module}.{name}")
        return NAMES[module, name]


def read_dictionary(data: bytes, where: str) -> dict[bytes, Any]:
    """Return the dictionary in the pickle `data`; its array is a `uint8` array of two dimensions.

    Raises ConfigError if the pickle is damaged, or is not a CIFAR dictionary.
    """
    try:
        _check_operations(data)
        value = _Reader(io.BytesIO(data), encoding="bytes").load()
        if not isinstance(value, dict):
            raise ConfigError("it is not a dictionary")
        return {key: _array(item) if isinstance(item, _Bytes) else item for key, item in value.items()}
    except ConfigError as error:
        raise ConfigError(f"{where} is refused because it is not a plain CIFAR file: {error}") from error
    except Exception as error:  # what a damaged pickle raises is not documented
        raise ConfigError(f"{where} is damaged: {type(error).__name__}: {error}") from error


def _check_operations(data: bytes) -> None:
    for count, (operation, argument, _) in enumerate(pickletools.genops(data)):
        if operation.name not in OPERATIONS:
            raise ConfigError(f"it has the operation {operation.name}")
        if operation.name == "LONG_BINPUT" and not 0 <= (argument or 0) <= count:
            raise ConfigError(f"it stores value number {argument} after {count} operations")


def _array(stand_in: _Bytes) -> "npt.NDArray[np.uint8]":
    import numpy as np

    match stand_in.state:
        case (_, (int(rows), int(columns)), _Dtype(name=b"u1"), False | 0, bytes(content)):
            return np.frombuffer(content, np.uint8).reshape(rows, columns)
    raise ConfigError("its array is not a plain array of unsigned bytes in two dimensions")

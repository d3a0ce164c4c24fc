"""Lookup in a store by the prefix of a key."""

from nrf_ray.errors import ConfigError
from nrf_ray.graph.record import Record
from nrf_ray.graph.store import Place, Store


def open_store(uri: str) -> Store:
    """Return the store at `uri`, or raise ConfigError if there is none."""
    opened = Store.open(uri, create=False)
    if not opened.is_there:
        raise ConfigError(f"there is no store at {uri}; name one with --store")
    return opened


def find_place(store: Store, prefix: str) -> Place:
    """Return the only place whose key starts with `prefix`, or raise ConfigError if there are none or several."""
    found = [place for place in store.places() if place.key.startswith(prefix.lower())]
    if len(found) != 1:
        what = "no key starts" if not found else f"{len(found)} keys start"
        raise ConfigError(f"{what} with {prefix!r} in {store.uri}; `nrf status` and stages.parquet list the keys")
    return found[0]


def committed(store: Store, place: Place) -> Record:
    """Return the record at `place`, or raise ConfigError if the stage is not finished."""
    record = store.peek(place)
    if record is None:
        raise ConfigError(f"{place.stage}/{place.key} is not finished; run its sweep again")
    return record

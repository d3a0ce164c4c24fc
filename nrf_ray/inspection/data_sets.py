"""Put a dataset into a store, for machines without its files, and bring it to this machine.

    nrf data push 'folder:photos[size=64,crop=center]'
    nrf data pull a1b2c3

The nodes of a run bring the sets that it needs by themselves.
"""

from nrf_ray.data.located import locate
from nrf_ray.data.pushed import FOLDER, PREFIX, pull, push
from nrf_ray.display.printing import make_console
from nrf_ray.errors import ConfigError
from nrf_ray.graph.blobs import Blobs
from nrf_ray.graph.store import Store
from nrf_ray.results.stored_sweep import StoreUri

SHOWN = 12
"""Letters of a digest that are printed."""


def push_set(name: str, *, store: StoreUri = "./runs") -> None:
    """Decode the dataset NAME, as --dataset names it, and put its images and labels into the store.

    A run with this store then needs its files on no machine but the one that starts it: each node brings the images
    from the store. Pushing a set again writes nothing. Choose the same rows and sizes as in the sweep.

        nrf data push 'folder:photos[size=64,crop=center]'
    """
    located = locate(name)
    size = push(located, Store.open(store, create=True).blobs)
    make_console().print(
        f"{located.name.title} is in {store} as {located.content[:SHOWN]}: {located.train.count + located.test.count} "
        f"rows, {size:,} bytes",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )


def pull_set(digest: str, *, store: StoreUri = "./runs") -> None:
    """Bring a dataset that was pushed into the store to this machine, by the start of its DIGEST.

    A sweep that starts here then takes it as pushed:DIGEST. Its keys are those of the set made of files.

        nrf data pull a1b2c3
    """
    blobs = Blobs(store, create=False)
    kept = [name for name in blobs.folders(FOLDER) if name.startswith(digest)]
    if len(kept) != 1:
        known = ", ".join(name[:SHOWN] for name in blobs.folders(FOLDER)) or "none"
        raise ConfigError(f"{len(kept)} sets in {store} begin with {digest!r}; it has: {known}")
    located = pull(kept[0], blobs)
    if located is None:
        raise ConfigError(f"the set {kept[0][:SHOWN]} in {store} is not complete; push it again")
    make_console().print(
        f"{located.name.title} is on this machine; name it as {PREFIX}{kept[0][:SHOWN]}",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )

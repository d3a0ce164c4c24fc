"""A set is crafted through Ray Data as fast as by bare loops: two actors beside two plain processes, and beside one.

    python -m tests.benchmarks.crafting [--repeats 1 --add]

All do the same batches on one thread a worker, by the same crafting code. The bare loops start warm, with the images
and the source loaded, and keep nothing. Ray Data starts its actors for every build, as it does in a trial; they load
images and source and write the shards, and the trial reads them back and commits. So `first is` says what is left
after all that Ray Data and the store cost, in builds of more than a minute.
"""

from contextlib import ExitStack
from functools import partial

from tests.benchmarks.builds import BareLoops, Build, through_ray_data, workshop
from tests.benchmarks.harness import Case, Contender, main

MINUTE = Build(images=24576, arch="resnet_m", steps=20, shards=24)
"""More than a minute of two cores of a server."""
HALF = Build(images=12288, arch="resnet_m", steps=20, shards=12)
"""As long on one core."""


def rivals(build: Build, half: Build) -> list[Contender]:
    """Return two actors, two plain processes, and one actor, which gets half of the work."""
    at_end = ExitStack()
    shop = at_end.enter_context(workshop())
    whole, part = shop.stage(build), shop.stage(half)
    loops = BareLoops(whole, shop.store_for(whole), processes=2)
    at_end.callback(loops.close)
    through_ray_data(part, shop.store_for(part), 2)  # Ray's processes are up from here on

    def by_actors(actors: int) -> None:
        stage = whole if actors == 2 else part
        through_ray_data(stage, shop.store_for(stage), actors)

    work, half_work = build.images * build.steps, half.images * half.steps
    return [
        Contender(name="Ray Data, 2 actors", run=partial(by_actors, 2), work=work, close=at_end.close),
        Contender(name="2 bare loops", run=loops.run, work=work),
        Contender(name="Ray Data, 1 actor", run=partial(by_actors, 1), work=half_work),
    ]


def cases() -> list[Case]:
    """Return the build of a minute, and a small one that shows what starting costs."""
    small = Build(images=1024, arch="resnet_m", steps=20, shards=4)
    return [
        Case(
            name=name,
            contenders=partial(rivals, build, half),
            threads=2,
            unit="image-steps",
            repeats=repeats,
            warm_ups=0,
        )
        for name, build, half, repeats in (("minute", MINUTE, HALF, 3), ("seconds", small, small, 5))
    ]


if __name__ == "__main__":
    main("crafting", __doc__, cases())

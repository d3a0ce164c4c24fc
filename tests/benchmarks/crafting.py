"""A set is crafted through Ray Data as fast as by bare loops: two actors beside two plain processes, and beside one.

    python -m tests.benchmarks.crafting [--repeats 1 --add]

All do the same batches on one thread a worker, by the same crafting code. The bare loops start warm, with the images
and the source loaded, and keep nothing. Ray Data starts its actors for every build, as it does in a trial; they load
images and source and write the shards, and the trial reads them back and commits. So `first is` says what is left
after all that Ray Data and the store cost. A case is called by its images.
"""

from contextlib import ExitStack
from functools import partial

from tests.benchmarks.builds import BareLoops, Build, through_ray_data, workshop
from tests.benchmarks.harness import Case, Contender, main

SIZES = ((24576, 24, 3), (16384, 16, 3), (1024, 4, 5))
"""Images of a build, its shards, and rounds: more than a minute on two cores, less on faster ones, all start-up."""


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
    """Return one case a size; one actor gets half of the work, so that it takes as long."""
    return [
        Case(
            name=str(images),
            contenders=partial(rivals, built(images, shards), built(images // 2, shards // 2)),
            threads=2,
            unit="image-steps",
            repeats=repeats,
            warm_ups=0,
        )
        for images, shards, repeats in SIZES
    ]


def built(images: int, shards: int) -> Build:
    """Return the build of so many images."""
    return Build(images=images, arch="resnet_m", steps=20, shards=shards)


if __name__ == "__main__":
    main("crafting", __doc__, cases())

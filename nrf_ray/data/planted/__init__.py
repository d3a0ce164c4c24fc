"""The controlled world: images and texts made of a part that people read and a part that they do not.

Every example is the sum of a human part (a glyph; a sentence about a topic) and a noise part (a weave of neighbouring
pixels; invisible variants of words) of a chosen norm. Either may show the label's class. The parts can be taken apart
again to the bit, so what a model uses is not guessed but known. A planted set is a dataset by name:

    planted-image                                     labels by the human part, noise that means nothing
    planted-text[label=noise]                         labels by the noise part, sentences that mean nothing
    planted-image[label=both,p_human=0.9,noise=0.25]  both parts show the label, the readable one 9 times in 10

`spec` says what a set is, `odds` what can be learnt from it, `naming` how it is called; these need nothing but Python.
`images` and `texts` compose examples and take them apart, `generate` makes a whole set, and `swaps` puts parts together
that do not belong together.
"""

from nrf_ray.data.planted.naming import SETS as SETS
from nrf_ray.data.planted.naming import is_planted as is_planted
from nrf_ray.data.planted.naming import parse_planted as parse_planted
from nrf_ray.data.planted.naming import planted_digest as planted_digest
from nrf_ray.data.planted.naming import planted_name as planted_name
from nrf_ray.data.planted.odds import Odds as Odds
from nrf_ray.data.planted.spec import KINDS as KINDS
from nrf_ray.data.planted.spec import LABELS as LABELS
from nrf_ray.data.planted.spec import MODALITIES as MODALITIES
from nrf_ray.data.planted.spec import Planted as Planted
from nrf_ray.data.planted.spec import planted as planted

"""The controlled world: images and texts that are the sum of a part that people can read and a part that they cannot.

Every example is the sum of a human part (a glyph; a sentence about a topic) and a noise part (a weave of neighbouring
pixels; invisible variants of words) of a chosen norm. Each part may show the label's class. An example can be separated
into its parts exactly, to the bit, so it is known which part a model uses. A planted set is a dataset by name:

    planted-image                                     labels follow the human part; the noise part is uninformative
    planted-text[label=noise]                         labels follow the noise part; the sentences are uninformative
    planted-image[label=both,p_human=0.9,noise=0.25]  both parts show the label, the human part 9 times in 10

`spec` defines a set, `odds` computes what can be learnt from it, `naming` parses its name; these need only Python.
`images` and `texts` compose examples and take them apart, `generate` makes a set, and `swaps` combines parts of
different classes.
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

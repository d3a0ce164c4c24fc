"""All broken defences of the gallery, by name.

Sources: Athalye et al. 2018 (arXiv 1802.00420), Carlini et al. 2019 (1902.06705), Tramer et al. 2020 (2002.08347),
Croce et al. 2022 (2202.13711), and issue 20.
"""

from tests.trust.defence import Defence
from tests.trust.gradients import GRADIENTS
from tests.trust.masked import MASKED
from tests.trust.purifiers import PURIFIERS
from tests.trust.randomised import RANDOMISED
from tests.trust.shattered import SHATTERED
from tests.trust.stateful import STATEFUL

DEFENCES: dict[str, Defence] = {
    defence.name: defence for defence in (*GRADIENTS, *SHATTERED, *MASKED, *RANDOMISED, *PURIFIERS, *STATEFUL)
}
"""Every broken defence."""

"""Statistics of few seeds, a finite test set and a handful of architectures: intervals, tests, variances.

Every interval names what it is over, because the same number has several. Over *seeds*: new trainings, the test images
held fixed. Over *test images*: other images, the models held fixed. Over *architectures*: other architectures, each
represented by its mean. None of the three includes another. With few seeds little can be shown, and every test reports
the smallest p that it could have given. Values are shares, or differences of shares.
"""

from nrf_ray.statistics.intervals import Interval as Interval
from nrf_ray.statistics.intervals import Spread as Spread
from nrf_ray.statistics.intervals import bootstrap_interval as bootstrap_interval
from nrf_ray.statistics.intervals import difference_interval as difference_interval
from nrf_ray.statistics.intervals import over_seeds as over_seeds
from nrf_ray.statistics.intervals import seed_means as seed_means
from nrf_ray.statistics.intervals import spread as spread
from nrf_ray.statistics.intervals import t_interval as t_interval
from nrf_ray.statistics.intervals import wilson_interval as wilson_interval
from nrf_ray.statistics.paired import Paired as Paired
from nrf_ray.statistics.paired import PermutationTest as PermutationTest
from nrf_ray.statistics.paired import holm as holm
from nrf_ray.statistics.paired import paired as paired
from nrf_ray.statistics.paired import seeds_needed as seeds_needed
from nrf_ray.statistics.paired import sign_flip_test as sign_flip_test
from nrf_ray.statistics.relating import Correlation as Correlation
from nrf_ray.statistics.relating import Line as Line
from nrf_ray.statistics.relating import correlation as correlation
from nrf_ray.statistics.relating import regression as regression

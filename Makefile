.PHONY: check docs lint types layers test slow slow-main-job slow-ray slow-else pin

check: lint types layers test  ## everything that a change has to pass, but for the slow tier

lint:
	ruff format --check .
	ruff check .

types:
	mypy

layers:
	lint-imports

test:
	pytest

slow: slow-main-job slow-ray slow-else  ## the main job and all else that takes minutes

# One process: two Rays at once on two cores make tests of lost workers and of stops fail.
MAIN_JOB := tests/test_main_job.py
RAY := tests/cluster tests/docs/test_tutorial.py tests/doctor/test_looking.py
slow-main-job:
	pytest -n 0 -m slow $(MAIN_JOB)

slow-ray:
	pytest -n 0 -m slow $(RAY)

# What starts no Ray computes on one core; files are handed out to several processes, as by default.
slow-else:
	pytest -m slow $(MAIN_JOB:%=--ignore %) $(RAY:%=--ignore %)

pin:  ## after a change of a stage's code that cannot change its results
	python -m tests.golden.pin

docs:  ## what every module says of itself, as pages in build/docs; types that only checkers read are shown as written
	python -W error -W "ignore:Error parsing type annotation" -m pdoc --docformat google --output-directory build/docs nrf_ray

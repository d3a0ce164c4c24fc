.PHONY: check docs lint types layers test slow pin

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

slow:  ## the main job and all else that takes minutes
	pytest -n 0 -m slow

pin:  ## after a change of a stage's code that cannot change its results
	python -m tests.golden.pin

docs:  ## what every module says of itself, as pages in build/docs; types that only checkers read are shown as written
	python -W error -W "ignore:Error parsing type annotation" -m pdoc --docformat google --output-directory build/docs nrf_ray

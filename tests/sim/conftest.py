"""Seeds for simulations: `make sim SEED=81` runs one, `make sim FIRST=1000 SEEDS=5000` many."""

import pytest

SEEDS = 50


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="run the simulation of this seed")
    parser.addoption("--seeds", type=int, default=SEEDS, help="run so many simulations")
    parser.addoption("--first-seed", type=int, default=0, help="the first of those many")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" not in metafunc.fixturenames:
        return
    one = metafunc.config.getoption("--seed", default=None)
    many = metafunc.config.getoption("--seeds", default=SEEDS)
    first = metafunc.config.getoption("--first-seed", default=0)
    metafunc.parametrize("seed", range(first, first + many) if one is None else [one])

"""The space holds what is drawn from it, a variation changes one block, and recipes are pipelines of the space."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_common import pipelines
from swarm_common.errors import UsageError
from swarm_common.pipelines import BLOCKS, RECIPES, Choice, Int, Space, Spec

spaces = st.builds(
    pipelines.space,
    st.sampled_from(["classification", "regression"]),
    st.sampled_from([1, 2, 13, 64, 500]),
    categorical=st.booleans(),
    missing=st.booleans(),
    extra_models=st.sampled_from([(), ("xgboost",), ("lightgbm", "catboost")]),
)


def drawing(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - a test


FULL = pipelines.space("classification", 10, categorical=True, missing=True)


@given(space=spaces, seed=st.integers(0, 2**32))
def test_what_is_drawn_lies_in_the_space_and_survives_json(space: Space, seed: int) -> None:
    spec = pipelines.sample(space, drawing(seed))
    pipelines.check(space, spec)
    assert pipelines.read_spec(msgspec.json.decode(msgspec.json.encode(spec))) == spec
    assert pipelines.sample(space, drawing(seed)) == spec


@given(space=spaces, seed=st.integers(0, 2**32), steps=st.integers(1, 6))
def test_a_variation_changes_its_block_alone(space: Space, seed: int, steps: int) -> None:
    rng = drawing(seed)
    spec = pipelines.sample(space, rng)
    for _ in range(steps):
        block = rng.choice(space.blocks)
        other = pipelines.vary(space, spec, block, rng)
        pipelines.check(space, other)
        touched = {"model", "hyperparameters"} if block == "model" else {block}
        assert all(getattr(other, name) == getattr(spec, name) for name in set(BLOCKS) - touched)
        if block != "hyperparameters":
            assert getattr(other, block) != getattr(spec, block)
        spec = other


@given(space=spaces, seed=st.integers(0, 2**32))
def test_a_neutral_block_is_the_plainest_whatever_stood_there(space: Space, seed: int) -> None:
    rng = drawing(seed)
    spec, other = pipelines.sample(space, rng), pipelines.sample(space, rng)
    for block in space.blocks:
        plain = pipelines.neutral(space, spec, block)
        pipelines.check(space, plain)
        assert pipelines.neutral(space, plain, block) == plain
        if block != "hyperparameters":
            assert getattr(plain, block) == getattr(pipelines.neutral(space, other, block), block)


def test_hyperparameters_move_to_neighbours() -> None:
    spec = Spec(model="svm", hyperparameters={"C": 1.0, "kernel": "rbf", "gamma": "scale"})
    rng = drawing(3)
    moved = [pipelines.vary(FULL, spec, "hyperparameters", rng).hyperparameters for _ in range(200)]
    assert all(given != spec.hyperparameters for given in moved)
    near = [given["C"] for given in moved if given["C"] != 1.0]
    # A step's deviation is a fifth of the range's logarithm, which spans a factor of 3,333.
    assert len([value for value in near if 0.1 < value < 10.0]) > 0.6 * len(near) > 40


def test_numbers_on_a_log_scale_are_drawn_evenly_by_magnitude() -> None:
    rng = drawing(5)
    drawn = [pipelines.sample(FULL, rng) for _ in range(2000)]
    values = [spec.hyperparameters["C"] for spec in drawn if spec.model == "logistic_regression"]
    below = sum(value < 0.316 for value in values) / len(values)  # the middle of 0.001 to 100 by magnitude
    assert 0.42 < below < 0.58


def test_every_whole_number_of_a_range_can_be_drawn() -> None:
    drawn = [pipelines._at(Int(2, 5), share / 1000) for share in range(1001)]
    assert [drawn.count(value) for value in (2, 3, 4, 5)] == pytest.approx([250] * 4, abs=3)


@pytest.mark.parametrize("problem", ["classification", "regression"])
def test_recipes_lie_in_the_space_and_say_why_and_who(problem: str) -> None:
    space = pipelines.space(problem, 10, categorical=True, missing=True)
    found = pipelines.recipes(space)
    assert found == RECIPES[problem]
    assert 8 <= len(found) <= 12
    assert (
        len({recipe.name for recipe in found})
        == len({pipelines.key(recipe.spec) for recipe in found})
        == len(found)
    )
    assert all(recipe.why.endswith(".") and len(recipe.source) > 20 for recipe in found)


def test_recipes_too_wide_for_the_data_are_left_out() -> None:
    wide = {recipe.name for recipe in pipelines.recipes(pipelines.space("regression", 64))}
    assert {recipe.name for recipe in RECIPES["regression"]} - wide == {"interactions"}


@pytest.mark.parametrize(
    ("n_features", "without"),
    [(1, {"pca_95", "interactions"}), (64, {"interactions", "polynomial"}), (500, {"bins", "splines"})],
)
def test_the_space_fits_the_data(n_features: int, without: set[str]) -> None:
    assert not without & set(pipelines.space("classification", n_features).choices["features"])


def test_blocks_without_a_choice_are_no_blocks_to_search() -> None:
    assert pipelines.space("classification", 10).blocks == BLOCKS[2:]
    assert FULL.blocks == BLOCKS
    with pytest.raises(UsageError, match="no block with a choice"):
        pipelines.vary(pipelines.space("classification", 10), Spec(model="svm"), "impute", drawing(1))


@pytest.mark.parametrize(
    ("ask", "field", "allowed"),
    [
        (lambda: pipelines.space("ranking", 3), "params.problem", "classification, regression"),
        (lambda: pipelines.space("regression", 0), "params.n_features", ""),
        (
            lambda: pipelines.space("regression", 3, extra_models=("gpt",)),
            "params.extra_models",
            "xgboost, lightgbm, catboost",
        ),
        (lambda: pipelines.check(FULL, Spec(model="svm", scale="log")), "spec.scale", "none, standard"),
        (lambda: pipelines.check(FULL, Spec(model="ridge_regression")), "spec.model", "logistic_regression"),
        (
            lambda: pipelines.check(FULL, Spec(model="svm", hyperparameters={"depth": 3})),
            "spec.hyperparameters.depth",
            "C, kernel, gamma",
        ),
        (
            lambda: pipelines.check(FULL, Spec(model="svm", hyperparameters={"C": -1.0})),
            "spec.hyperparameters.C",
            "a number from 0.03 to 100",
        ),
        (
            lambda: pipelines.check(
                FULL, Spec(model="random_forest", hyperparameters={"n_estimators": True})
            ),
            "spec.hyperparameters.n_estimators",
            "a whole number from 50 to 300",
        ),
        (lambda: pipelines.read_spec({"model": "svm", "scaling": "none"}), "params.spec", "impute, encode"),
        (lambda: pipelines.read_spec({"scale": "none"}), "params.spec", "impute, encode"),
    ],
)
def test_what_does_not_fit_is_named(ask: Callable[[], object], field: str, allowed: str) -> None:
    with pytest.raises(UsageError) as caught:
        ask()
    assert caught.value.field == field
    assert caught.value.allowed.startswith(allowed)


def test_true_is_no_one_among_choices() -> None:
    assert not pipelines._lies_in(Choice((1.0, "a")), True)
    assert not pipelines._lies_in(Choice((1.0, "a")), 1)
    assert pipelines._lies_in(Choice((None, [3])), [3])


def test_a_pipeline_reads_as_people_say_it() -> None:
    spec = Spec(
        scale="standard", features="pca_95", model="svm", hyperparameters={"C": 10.0, "kernel": "rbf"}
    )
    assert pipelines.describe(spec) == "standard > pca_95 > svm (C=10, kernel=rbf)"
    assert pipelines.describe(Spec(model="random_forest")) == "random_forest"
    plain = pipelines.neutral(FULL, spec, "hyperparameters")
    assert (plain.hyperparameters, pipelines.describe(plain)) == (
        {"max_iter": 100_000},
        "standard > pca_95 > svm",
    )


def test_it_loads_no_numerical_library() -> None:
    code = "import swarm_common.pipelines, sys; print({'numpy', 'scipy', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"

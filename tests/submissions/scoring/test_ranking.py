"""Which differences are called real: levels, power, exactness, order, ties."""

import itertools

import numpy as np
import pytest
import scipy.stats

from challenge.submissions.scoring import ranking, statistics


def ordered(scores):
    return scores[:, np.argsort(-scores.mean(axis=0), kind="stable")]


def board(images, entries, seed=0, spread=0.5, step=0.0):
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, spread, (images, entries))
    return ordered(rng.normal(30, 3, (images, 1)) + noise - step * np.arange(entries))


@pytest.mark.parametrize("images", [24, 100])
@pytest.mark.parametrize("kind", ["normal", "exponential"])
def test_intervals_cover_the_mean_as_often_as_they_say(images, kind):
    rng = np.random.default_rng(images)
    values = getattr(rng, "standard_" + kind)((images, 2000))
    truth = {"normal": 0.0, "exponential": 1.0}[kind]
    found = statistics.intervals(values)
    covered = np.mean([each.low <= truth <= each.high for each in found])
    assert covered == pytest.approx(0.95, abs=0.02)


def test_an_interval_does_not_depend_on_the_order_of_images_or_methods():
    values = board(24, 5)
    found = statistics.intervals(values)
    assert statistics.intervals(values[::-1]) == pytest.approx(found)
    assert statistics.intervals(values[:, ::-1])[::-1] == pytest.approx(found)
    shifted = statistics.intervals(2 * values + 1)
    for one, other in zip(found, shifted, strict=True):
        assert (other.low, other.high) == pytest.approx((2 * one.low + 1, 2 * one.high + 1))


@pytest.mark.parametrize("images", [6, 10])
def test_p_is_that_of_scipy_where_all_flips_are_taken(images):
    scores = board(images, 3, seed=images, step=0.3)
    pairs = np.array([[0, 0, 1], [1, 2, 2]])
    found = ranking.compare(scores, *pairs)
    for p, first, second in zip(found, *pairs, strict=True):
        expected = scipy.stats.permutation_test(
            (scores[:, first] - scores[:, second],), np.mean, permutation_type="samples"
        ).pvalue
        assert p == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("images", [12, 24])
def test_a_twin_but_for_rounding_takes_no_evidence_from_the_others(images, seed):
    scores = board(images, 3, seed=seed, step=1.0)
    nudge = 1e-8 * np.random.default_rng(seed).choice([-1, 0, 1, 2], images)
    twins = np.column_stack([scores[:, 0], scores[:, 0] - nudge, scores[:, 1:]])
    before, after = ranking.different(scores), ranking.different(twins)
    assert before[0, 2]
    assert after[0, 3]
    assert not after[0, 1]


def test_p_of_random_flips_is_near_the_exact_one():
    scores = board(18, 2, seed=5, step=0.4)
    found = ranking.compare(scores, np.array([0]), np.array([1]))[0]
    difference = scores[:, 0] - scores[:, 1]
    flips = np.array(list(itertools.product((1, -1), repeat=18)))
    exact = np.mean(np.abs(flips @ difference) >= abs(difference.sum()) - 1e-9)
    assert 0.001 < exact < 0.2
    assert found == pytest.approx(exact, abs=5 * (exact / ranking.FLIPS) ** 0.5)


def test_holm_is_its_definition():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    assert ranking.holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert ranking.holm(np.array([0.9, 0.8])) == pytest.approx([1, 1])
    assert len(ranking.holm(np.empty(0))) == 0


@pytest.mark.parametrize("entries", [2, 5, pytest.param(20, marks=pytest.mark.slow)])
def test_no_entry_is_told_from_its_equals_more_often_than_promised(entries):
    """Of 150 boards 5 % are 7.5; more than 15 are one in a hundred."""
    false = sum(ranking.different(board(24, entries, seed)).any() for seed in range(150))
    assert false <= 15


@pytest.mark.parametrize("images", [12, 24, pytest.param(100, marks=pytest.mark.slow)])
def test_a_difference_of_the_resolution_is_found_as_often_as_promised(images):
    rng = np.random.default_rng(images)
    gap = ranking.resolution(1.0, images)
    found = []
    for _ in range(250):
        scores = np.stack([rng.normal(gap, 1, images), np.zeros(images)], axis=1)
        found.append(ranking.compare(scores, np.array([0]), np.array([1]))[0] <= 0.05)
    assert np.mean(found) == pytest.approx(0.8, abs=0.08)


def test_resolution_falls_with_the_root_of_the_images_and_grows_with_the_spread():
    assert ranking.resolution(2.0, 24) == pytest.approx(2 * ranking.resolution(1.0, 24))
    ratio = ranking.resolution(1.0, 100) / ranking.resolution(1.0, 400)
    assert ratio == pytest.approx(2, rel=0.02)


def test_what_is_clear_is_told_apart_and_ranked():
    scores = board(24, 6, spread=0.1, step=1.0)
    for k, each in enumerate(ranking.standings(scores)):
        assert (each.best, each.worst, each.brackets) == (k + 1, k + 1, (k,))
        assert each.ranks[k] == 1
    assert ranking.standings(scores)[-1].gap is None


def test_below_twelve_images_nothing_is_told_apart():
    found = ranking.standings(board(11, 4, spread=0.01, step=5.0))
    assert all((each.best, each.worst, each.brackets) == (1, 4, (0,)) for each in found)
    assert all(each.gap.p is None for each in found[:-1])


def test_an_entry_between_two_that_differ_is_in_both_brackets():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (24, 1))
    scores = 30 + noise * np.array([1, 1, 1]) + rng.normal(0, 1, (24, 3))
    scores += np.array([0.9, 0.45, 0.0]) - (scores - noise).mean(axis=0)
    found = ranking.standings(ordered(scores))
    assert [each.brackets for each in found] == [(0,), (0, 1), (1,)]
    assert [(each.best, each.worst) for each in found] == [(1, 2), (1, 3), (2, 3)]


def test_copies_tie_and_share_ranks_in_every_draw():
    scores = board(24, 3, spread=0.1, step=1.0)
    found = ranking.standings(scores[:, [0, 0, 1, 2]])
    assert found[0].ranks == found[1].ranks and found[0].ranks[0] == 1
    assert found[0].brackets == found[1].brackets
    assert found[0].gap.difference == ranking.Interval(0.0, 0.0, 0.0)
    assert found[0].gap.p == 1


def test_the_order_of_entries_and_images_decides_nothing():
    scores = board(24, 8, step=0.1)
    shuffled = np.random.default_rng(0).permutation(8)
    clear = ranking.different(scores)
    assert np.array_equal(ranking.different(scores[:, shuffled]), clear[shuffled][:, shuffled])
    shares = ranking.rank_shares(scores)
    assert shares[shuffled] == pytest.approx(ranking.rank_shares(scores[:, shuffled]))
    assert shares.sum(axis=0) == pytest.approx(1) and shares.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_never_ranked(bad):
    scores = board(12, 3)
    scores[3, 1] = bad
    with pytest.raises(ValueError, match="not finite"):
        ranking.standings(scores)


def test_entries_out_of_order_are_refused():
    with pytest.raises(ValueError, match="order of their means"):
        ranking.standings(board(12, 3, step=1.0)[:, ::-1])

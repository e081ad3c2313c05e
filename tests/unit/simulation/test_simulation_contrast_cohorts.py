"""Cohorts of several contrasts: the signal equations, what is planted, and that contrasts complement each other."""

import numpy as np
import pytest

from neurostrata.core.errors import UserError
from neurostrata.simulation.contrast_cohorts import LESIONS, SIGNALS, TISSUES, simulate_contrasts

SMALL = {"people": 8, "seed": 3, "shape": (20, 24, 20)}


@pytest.fixture(scope="module")
def cohort():
    return simulate_contrasts(**SMALL)


def signal(contrast, values):
    return float(SIGNALS[contrast](*np.array(values)))


def test_the_signal_equations_give_the_known_contrasts():
    wm, gm, csf = TISSUES.values()
    assert signal("t1w", wm) > signal("t1w", gm) > signal("t1w", csf)
    assert signal("t2w", csf) > signal("t2w", gm) > signal("t2w", wm)
    assert signal("pd", gm) > signal("pd", wm)
    assert signal("trace", gm) > signal("trace", wm) > signal("trace", csf)
    assert signal("flair", csf) < 0.05 * signal("flair", wm)  # nulled
    assert signal("flair", LESIONS["old"]) > 1.5 * signal("flair", gm)
    assert signal("trace", LESIONS["fresh"]) > 1.3 * signal("trace", LESIONS["old"])
    # by hand: spin echoes of water at rest and in motion, an inversion, and a gradient echo at its Ernst angle
    assert signal("t2w", (1000.0, 100.0, 0.5, 0.0)) == pytest.approx(0.5 * (1 - np.exp(-5)) * np.exp(-1))
    assert signal("pd", (1000.0, 15.0, 0.5, 0.0)) == pytest.approx(0.5 * (1 - np.exp(-3)) * np.exp(-1))
    assert signal("trace", (1000.0, 90.0, 0.5, 1e-3)) == pytest.approx(0.5 * (1 - np.exp(-6)) * np.exp(-2))
    assert signal("flair", (1000.0, 100.0, 0.5, 0.0)) == pytest.approx(
        0.5 * (1 - 2 * np.exp(-2.445) + np.exp(-9)) * np.exp(-1)
    )
    assert signal("flair", (9000.0, 100.0, 1.0, 0.0)) == pytest.approx(
        (2 * np.exp(-2445 / 9000) - 1 - np.exp(-1)) * np.exp(-1)
    )
    relaxed = np.cos(np.deg2rad(25))
    ernst = -20 / np.log(relaxed)
    assert signal("t1w", (ernst, 80.0, 1.0, 0.0)) == pytest.approx(np.sqrt((1 - relaxed) / (1 + relaxed)))


def test_the_same_seed_gives_the_same_people_and_another_seed_others(cohort):
    again = simulate_contrasts(**SMALL)
    np.testing.assert_array_equal(again.volumes, cohort.volumes)
    other = simulate_contrasts(**SMALL | {"seed": 4})
    assert np.abs(other.noise_free - cohort.noise_free).max() > 0.1
    # a contrast is what it is, whatever else is made
    alone = simulate_contrasts(**SMALL | {"contrasts": ["flair"]})
    np.testing.assert_array_equal(alone.volumes[:, 0], cohort.volumes[:, 3])


def test_noise_bias_and_lesions_can_be_left_out(cohort):
    assert not cohort.volumes[:, :, ~cohort.mask].any()
    assert not cohort.lesions[:, ~cohort.mask].any()
    clean = simulate_contrasts(**SMALL | {"noise": 0.0, "lesions": False})
    np.testing.assert_allclose(clean.volumes, clean.noise_free, atol=1e-6)
    assert not clean.lesions.any()
    ill = cohort.lesions.any(axis=(1, 2, 3))
    assert 0 < ill.sum() < len(ill)
    np.testing.assert_array_equal(clean.noise_free[~ill], cohort.noise_free[~ill])
    change = (cohort.noise_free - clean.noise_free)[ill]
    spots = cohort.lesions[ill] > 0.5
    assert (change[:, 3][spots] > 0.2).all()  # bright in FLAIR
    assert (change[:, 0][spots] < 0).all()  # dark in T1w


def test_noise_and_bias_are_as_stated():
    """Of PD, whose signal is about 1 in tissue: noise of 3% and a smooth bias of 2%; twice as much on request."""
    options = SMALL | {"people": 3, "contrasts": ["pd"], "lesions": False}
    for factor in (1.0, 2.0):
        made = simulate_contrasts(**options, noise=factor)
        tissue = made.noise_free > 0.8
        change = (made.volumes - made.noise_free)[tissue]
        assert change.std() == pytest.approx(factor * np.hypot(0.03, 0.02), rel=0.2)


def test_further_contrasts_say_more_about_flair(cohort):
    """A quadratic of the noise-free intensities, learned from six people, predicts the other two better."""
    values = cohort.noise_free[:, :, cohort.mask]

    def unexplained(inputs):
        given = values[:, inputs]
        products = [given[:, i] * given[:, j] for i in range(len(inputs)) for j in range(i + 1)]
        features = np.stack([np.ones_like(given[:, 0]), *given.swapaxes(0, 1), *products], axis=-1)
        weights = np.linalg.lstsq(
            features[:6].reshape(-1, features.shape[-1]), values[:6, 3].ravel(), rcond=None
        )[0]
        return float(((features[6:] @ weights - values[6:, 3]) ** 2).mean())

    alone = [unexplained([k]) for k in range(3)]
    pairs = {(i, j): unexplained([i, j]) for i in range(3) for j in range(i)}
    assert all(error < 0.97 * min(alone[i], alone[j]) for (i, j), error in pairs.items())
    assert unexplained([0, 1, 2]) < 0.8 * min(pairs.values())


def test_what_cannot_be_made():
    with pytest.raises(UserError, match="'swi' is none of t1w, t2w"):
        simulate_contrasts(contrasts=["t1w", "swi"])
    with pytest.raises(UserError, match="people 0"):
        simulate_contrasts(people=0)

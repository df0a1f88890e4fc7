"""The shrunk covariance, by scikit-learn; imported while fitting only, for it costs 190 MB."""

from sklearn.covariance import LedoitWolf  # type: ignore[import-untyped]  # scikit-learn ships no types

from models.anomaly.features import Matrix


def shrink_covariance(standardised: Matrix) -> Matrix:
    """Return the covariance of centred rows (n, d), shrunk towards a sphere as Ledoit and Wolf (2004) do."""
    covariance: Matrix = LedoitWolf(store_precision=False, assume_centered=True).fit(standardised).covariance_
    return covariance

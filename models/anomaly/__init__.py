"""Windows, features, detectors, bundles and their evaluation: numpy and scikit-learn, no wire."""

"""scikit-learn's way in and out: our trainer on one's own frame, and one's own estimator beside our model.

In: DataFrames, and estimators with scikit-learn's conventions.
Out: a fitted classifier; a comparison on the same accounts, days, figures and baselines.
"""

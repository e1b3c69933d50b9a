"""From scores to people: drift verdicts, alerts, reports.

In: the scores of a batch run.
Out: verdicts, episodes, messages to account owners, pages for managers.
"""

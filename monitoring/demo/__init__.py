"""Run the whole main job on sample data.

In: a sample company.
Out: each command with what it prints, and one real mail.
"""

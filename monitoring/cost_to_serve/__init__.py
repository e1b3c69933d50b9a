"""What it costs to serve accounts, and the cheapest path to satisfaction.

In: tickets with minutes, who handled them and what was done first; staff with their rates; purchases; topics.
Out: costs of tickets, teams and accounts beside what accounts bring; four quarters with plays; paths by topic.
"""

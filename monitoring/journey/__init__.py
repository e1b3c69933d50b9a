"""Maps what accounts are in pain of: topics of tickets by stage of the journey, and what each topic costs.

In: tickets with their texts or tags, purchases, people's decisions about topics, and the scores before each ticket.
Out: topics with their tab, team, hours, money and the accounts that leave; warnings of topics that rise; the map.
"""

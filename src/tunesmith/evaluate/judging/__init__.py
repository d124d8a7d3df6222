"""judging: which of two answers is better, by people or by a model; the same votes, the same figures.

duels    two answers to one prompt, from samples or from models
votes    what a judge said, one line each in votes.jsonl
asking   a model's prompt, and how its verdict is read
judge    a model judges duels in both orders, and is judged itself
figures  win rates, the judge's own faults, people's correction, strengths of several models
"""

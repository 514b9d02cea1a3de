"""Seeded faults upon a training run and a deployment on several nodes, which must lose nothing by them: `make chaos`.

`plan` draws the strikes from a seed, `scene` is the run and the deployment on machines of `tests.nodes`, `strikes` lets
the faults befall them, `timeline` and `report` say what it cost, `picture` draws it, `__main__` is the story.
"""

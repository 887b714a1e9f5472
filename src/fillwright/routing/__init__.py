"""Which pools serve an intent best, and why. Pure.

`book` sorts the offered pools, `search` reads in it as far as it matters, `flow` finds the optimal split and its bound,
`plan` makes it exact and drops what does not pay, `quotes` compares single pools, `best` chooses and says why.
"""

from fillwright.routing.best import Limits, NoRoute, Router, best_route
from fillwright.routing.book import Offer
from fillwright.routing.quotes import price_impact_bps

__all__ = ["Limits", "NoRoute", "Offer", "Router", "best_route", "price_impact_bps"]

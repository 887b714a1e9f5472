"""Which pools serve an intent best, and why. Pure.

`book` sorts the offered pools, `search` reads in it as far as it matters, `flow` finds the optimal split and its bound,
`plan` makes it exact and drops what does not pay, `quotes` compares single pools, `best` chooses and says why; `prices`
tells what every size would get.
"""

from fillwright.routing.best import Limits, NoRoute, Router, best_route
from fillwright.routing.book import Offer
from fillwright.routing.prices import Prices
from fillwright.routing.quotes import price_impact_bps, size_problem

__all__ = ["Limits", "NoRoute", "Offer", "Prices", "Router", "best_route", "price_impact_bps", "size_problem"]

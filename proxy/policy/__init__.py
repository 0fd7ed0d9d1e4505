"""From an operator's YAML files to one immutable set of compiled policies, and the set that is in force.

It refuses a wrong file as a whole, with place, reason and fix, and a rule whose own examples fail; the old set stays.
Begin with `schema` (what a file may say) and `store` (load and swap); `compile` does the work between the two.
"""

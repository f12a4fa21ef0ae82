"""How labels are found: solvers, their starts, and the fixed point around them."""

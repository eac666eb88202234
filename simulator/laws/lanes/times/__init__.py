"""How long lanes take: from bits, in expectation, from some rounds of a draw."""

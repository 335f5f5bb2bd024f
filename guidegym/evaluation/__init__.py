"""How classifiers behave: everything that is measured of one, its picture, and the table over several."""

"""Reproducing what papers claim: the record of a claim, the laboratory it is tested in, and the verdict."""

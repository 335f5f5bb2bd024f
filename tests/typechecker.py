"""The run-time type checker of the tests: shapes and types of every call, with whole numbers allowed for floats."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))

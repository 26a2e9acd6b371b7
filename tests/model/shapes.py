"""What checks calls against their annotations, for jaxtyping's option `--jaxtyping-packages`."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # a whole number is a float

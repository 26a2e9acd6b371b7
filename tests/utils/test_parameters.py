from utils.parameters import init_parameters


class Base:
    def __init__(self, given, /, width=3, depth=2): ...


class Middle(Base):
    def __init__(self, given, /, rate=0.1, **kwargs):
        super().__init__(given, **kwargs)


class Plain(Middle): ...


class Own(Plain):
    def __init__(self, depth=5, **kwargs):
        super().__init__("given", depth=depth, **kwargs)


class Closed(Own):
    def __init__(self, size): ...


def test_parameters_of_bases_as_far_as_they_are_reached():
    assert set(init_parameters(Own)) == {"depth", "rate", "width"}
    assert set(init_parameters(Plain)) == set(init_parameters(Middle)) == {"rate", "width", "depth"}
    assert list(init_parameters(Closed)) == ["size"]


def test_the_nearest_default_counts():
    assert init_parameters(Own)["depth"].default == 5 and init_parameters(Base)["depth"].default == 2

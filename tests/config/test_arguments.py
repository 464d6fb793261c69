import pytest

from medcnn.config.arguments import ArgumentError, key_values


def test_what_is_typed_replaces_the_default():
    assert key_values(["port=1"], {"port": "5000", "uri": ""}) == {"port": "1", "uri": ""}
    assert key_values(["uri=sqlite:///a=b.db"], {"uri": ""}) == {"uri": "sqlite:///a=b.db"}


def test_every_problem_is_said_at_once_with_the_nearest_key():
    with pytest.raises(ArgumentError) as caught:
        key_values(["prot=1", "--verbose", "zzz=1"], {"port": "5000", "uri": ""})
    assert str(caught.value).splitlines() == [
        "prot=1: unknown key, did you mean port=?",
        "--verbose: arguments are key=value; known keys: port, uri",
        "zzz=1: unknown key, known keys: port, uri",
    ]

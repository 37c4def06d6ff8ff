"""One battery for every feature maker, then what each of them alone promises."""

from __future__ import annotations

import pytest

from routewright.routing.features import load_features, make_features


def test_an_unknown_maker_is_refused_by_name():
    with pytest.raises(ValueError, match=r'unknown features "tfidf"; known: .*hashed'):
        make_features("tfidf")
    with pytest.raises(ValueError, match='unknown features "__init__"'):
        load_features("__init__", {}, {})


def test_a_maker_can_be_joined_once_only():
    with pytest.raises(ValueError, match="name a maker twice"):
        make_features("hashed+hashed")

"""The section `embeddings`: all that a router with `remote` features may ask, and nothing of it from a router file."""

from __future__ import annotations

import pytest

from routewright.config import ConfigError, load_text
from routewright.settings import EmbeddingsSettings
from routewright.types import Secret


def test_the_section_gives_address_model_and_key():
    text = "embeddings: {api_base: 'https://e.example/v1/', model: small, api_key: os.environ/KEY, timeout: 3}"
    found = load_text(text, environ={"KEY": "sk-1"}).router.embeddings
    assert found == EmbeddingsSettings(
        api_base="https://e.example/v1", model="small", api_key=Secret("sk-1"), timeout_s=3.0
    )


def test_without_it_there_is_no_endpoint():
    assert load_text("model_list: []", environ={}).router.embeddings is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("embeddings: {model: m}", "embeddings.api_base"),
        ("embeddings: {api_base: 'http://e/v1'}", "embeddings.model"),
        ("embeddings: {api_base: 'ftp://e/v1', model: m}", "embeddings.api_base"),
        ("embeddings: {api_base: 'http://e/v1', model: m, timeout: 0}", "embeddings.timeout"),
        ("embeddings: {api_base: 'http://e/v1', model: m, api_key: 'a b'}", "embeddings.api_key"),
        ("embeddings: {api_base: 'http://e/v1', modle: m}", "embeddings.modle"),
        ("embeddings: 7", "embeddings"),
    ],
)
def test_a_fault_is_told_with_its_field(text: str, fault: str):
    with pytest.raises(ConfigError, match=fault):
        load_text(text, environ={})

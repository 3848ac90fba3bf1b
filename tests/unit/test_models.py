"""Which model the settings mean. Nothing here talks to a provider."""

import pytest
from agno.models.openai import OpenAIChat, OpenAIResponses
from agno.models.openai.like import OpenAILike

from runtime.models import UnknownModel, choose_model
from runtime.offline import OfflineModel


def test_nothing_set_is_the_offline_model() -> None:
    assert type(choose_model(None)) is OfflineModel
    assert type(choose_model("")) is OfflineModel


def test_a_model_id_is_agnos_notation_and_gets_the_key() -> None:
    model = choose_model("openai:gpt-5", api_key="sk-test")
    assert isinstance(model, OpenAIResponses)
    assert (model.id, model.api_key) == ("gpt-5", "sk-test")


@pytest.mark.parametrize("name", ["llama3:8b", "my-model", "openai:my-model"])
def test_a_base_url_takes_any_model_name(name: str) -> None:
    model = choose_model(name, base_url="http://127.0.0.1:9/v1")
    assert isinstance(model, OpenAILike)
    assert (model.id, model.base_url) == (name.removeprefix("openai:"), "http://127.0.0.1:9/v1")


def test_another_provider_is_not_sent_to_the_base_url() -> None:
    assert not isinstance(choose_model("openai-responses:gpt-5", base_url="http://127.0.0.1:9/v1"), OpenAILike)


def test_a_key_alone_means_openai() -> None:
    model = choose_model(None, api_key="sk-test")
    assert isinstance(model, OpenAIChat) and model.api_key == "sk-test"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpt-5", "MODEL=gpt-5 names no provider: write it as provider:id, for example openai:gpt-5"),
        ("opnai:gpt-5", "MODEL=opnai:gpt-5 cannot be used: .* Did you mean openai?"),
        ("openai:", "MODEL=openai: cannot be used"),
    ],
)
def test_an_unknown_model_is_told_with_what_to_write(name: str, message: str) -> None:
    with pytest.raises(UnknownModel, match=message):
        choose_model(name)


def test_a_provider_whose_package_is_missing_is_named() -> None:
    with pytest.raises(UnknownModel, match="MODEL=cohere:command needs a package that is not installed"):
        choose_model("cohere:command")

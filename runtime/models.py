"""The model of the sample agents: the one that the settings name, or the offline one."""

from difflib import get_close_matches

from agno.models.base import Model
from agno.models.utils import MODEL_PROVIDER_CLASSES, get_model

from runtime.offline import OfflineModel
from runtime.settings import settings

OPENAI_DEFAULT = "gpt-5-mini"


class UnknownModel(ValueError):
    """MODEL cannot be used; the text says why and what to write."""


def default_model() -> Model:
    """A new model from MODEL, OPENAI_BASE_URL and OPENAI_API_KEY. Raises UnknownModel."""
    current = settings()
    return choose_model(current.model, current.openai_api_key, current.openai_base_url)


def choose_model(model: str | None, api_key: str | None = None, base_url: str | None = None) -> Model:
    """The rule: `provider:id` is agno's own notation; a base URL takes any id; a key alone means OpenAI."""
    # The OpenAI client takes most of a second to import: only those who use it pay for it.
    provider, _, identifier = (model or "").partition(":")
    known = bool(identifier) and provider.strip().lower() in MODEL_PROVIDER_CLASSES
    if base_url and (not known or provider.strip().lower() == "openai"):
        from agno.models.openai.like import OpenAILike

        name = identifier.strip() if known else model or OPENAI_DEFAULT
        return OpenAILike(id=name, base_url=base_url, api_key=api_key or "not-provided")
    if model:
        chosen = _named(model)
        if api_key and chosen.provider == "OpenAI":
            chosen.api_key = api_key  # type: ignore[attr-defined]  # both of agno's OpenAI classes have it
        return chosen
    if api_key:
        from agno.models.openai import OpenAIChat

        return OpenAIChat(id=OPENAI_DEFAULT, api_key=api_key)
    return OfflineModel()


def _named(model: str) -> Model:
    provider, colon, _ = model.partition(":")
    if not colon:
        raise UnknownModel(f"MODEL={model} names no provider: write it as provider:id, for example openai:{model}")
    try:
        chosen = get_model(model)
    except ImportError as error:
        raise UnknownModel(f"MODEL={model} needs a package that is not installed: {error}") from error
    except ValueError as error:
        near = get_close_matches(provider.strip().lower(), MODEL_PROVIDER_CLASSES, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UnknownModel(f"MODEL={model} cannot be used: {error}{hint}") from error
    assert chosen is not None  # only for a model of None
    return chosen

"""Settings out of the environment, of `.env`, or of files of secrets; and addresses that get their passwords there."""

import os
from pathlib import Path
from urllib.parse import quote, urlsplit

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource, SettingsConfigDict


class Configuration(BaseSettings):
    """Environment variables have the fields' names in capitals. What is not there is looked for in `.env` in the
    working directory, then in the file of the field's name in SECRETS_DIR (/run/secrets). What is empty is not set.
    """

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        directory = secrets_directory()
        files = [_Files(settings_cls, directory)] if directory.is_dir() else []
        return (init_settings, env_settings, dotenv_settings, *files)


class _Files(SecretsSettingsSource):
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[str | None, str, bool]:
        value, key, is_complex = super().get_field_value(field, field_name)
        return value or None, key, is_complex


def secrets_directory() -> Path:
    return Path(os.environ.get("SECRETS_DIR") or "/run/secrets")


def export_secrets() -> None:
    """Files of secrets whose names are in capitals become environment variables, unless these are set: for what reads
    nothing else, such as OPENAI_API_KEY and OTEL_EXPORTER_OTLP_HEADERS.
    """
    directory = secrets_directory()
    for file in directory.iterdir() if directory.is_dir() else ():
        if file.name.isupper() and file.is_file() and (value := file.read_text().strip()):
            os.environ.setdefault(file.name, value)


def with_password(url: str, password: str | None) -> str:
    """The address with the password, when it has a user and no password of its own."""
    parts = urlsplit(url)
    if not password or parts.password is not None or not parts.username:
        return url
    user, at, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}{at}{host}").geturl()

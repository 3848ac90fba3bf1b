"""Settings out of the environment, of `.env`, or of files of secrets; and addresses that get their passwords there."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import quote, urlsplit

from pydantic import ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource, SettingsConfigDict


class Configuration(BaseSettings):
    """Environment variables have the fields' names in capitals. What is not there is looked for in `.env` in the
    working directory, then in the file of the field's name in SECRETS_DIR (/run/secrets). What is empty is not set.
    """

    PASSWORDS: ClassVar[Mapping[str, str]] = {}  # of addresses among the settings: the setting that is the password

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

    @model_validator(mode="after")
    def _addresses_have_passwords(self) -> Self:
        for address, password in self.PASSWORDS.items():
            if url := getattr(self, address):
                try:
                    setattr(self, address, with_password(url, getattr(self, password)))
                except ValueError as error:
                    raise ValueError(f"{address.upper()}: {error}") from None
        return self


class _Files(SecretsSettingsSource):
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[str | None, str, bool]:
        value, key, is_complex = super().get_field_value(field, field_name)
        return value or None, key, is_complex


def complaints(error: ValidationError) -> list[str]:
    """What is wrong with settings, each as a line that begins with the variable."""
    return [
        ": ".join((*(str(name).upper() for name in wrong["loc"][:1]), wrong["msg"].removeprefix("Value error, ")))
        for wrong in error.errors()
    ]


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

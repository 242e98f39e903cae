"""The sections of what mends a mirror from a second index: `[reference]` and `[rescue]`. Neither does anything unless it is asked for."""

import re
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, SecretStr, field_validator, model_validator

from proxy.config.section import Allowed, File, Seconds, Section, Unit, http_proxy, simple_api_url

FilledField: TypeAlias = Literal["upload-time", "size", "requires-python", "yanked"]
RescuedCause: TypeAlias = Literal["absent", "no-file", "no-answer", "mirror-error"]

_SEPARATORS = re.compile(r"[-_.]+")


class SecondSection(Section):
    """A second index, the way to it, and the projects that it is asked about."""

    url: Annotated[str | None, Allowed("an address starting with https:// or http://")] = Field(
        None, repr=False, description="The simple API of the second index. It may hold credentials."
    )
    projects: Annotated[tuple[str, ...], Allowed("a list of names of projects, with * and ?")] = Field(
        ("*",),
        description="The projects that the second index is asked about; it learns their names. [reference]'s hold for [rescue], too.",
    )
    exclude: Annotated[tuple[str, ...], Allowed("a list of names of projects, with * and ?")] = Field(
        (), description="The projects that no second index is ever asked about: name here what is private, such as acme-*."
    )
    username: str | None = Field(None, description="User for Basic authentication at the second index.")
    password: SecretStr | None = Field(None, description="Password for Basic authentication at the second index.")
    token: SecretStr | None = Field(None, description="Bearer token for the second index; it goes before user and password.")
    ca_bundle: File | None = Field(None, description="PEM file of the authorities trusted for the second index, beside SSL_CERT_FILE.")
    client_cert: File | None = Field(None, description="PEM file of a client certificate to show to the second index.")
    client_key: File | None = Field(None, description="PEM file of the client certificate's key, where it is not in client_cert.")
    proxy: Annotated[SecretStr | None, Allowed("an address starting with http://")] = Field(
        None, description="Outbound HTTP proxy to the second index, instead of HTTPS_PROXY and HTTP_PROXY."
    )
    allow_hosts: Annotated[tuple[str, ...], Allowed("a list of host or host:port")] = Field(
        (), description="Hosts that its links may lead to although their addresses are private."
    )

    @field_validator("url")
    @classmethod
    def _simple_api_url(cls, url: str | None) -> str | None:
        return None if url is None else simple_api_url(url)

    @field_validator("proxy")
    @classmethod
    def _http_proxy(cls, proxy: SecretStr | None) -> SecretStr | None:
        return http_proxy(proxy)

    @field_validator("projects", "exclude")
    @classmethod
    def _normalised(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_SEPARATORS.sub("-", pattern.strip()).lower() for pattern in patterns)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("client_key belongs to a certificate; give client_cert as well")
        return self

    @model_validator(mode="after")
    def _a_way_to_somewhere(self) -> Self:
        way = {"username", "password", "token", "ca_bundle", "client_cert", "client_key", "proxy", "allow_hosts"}
        given = sorted(name for name in way if getattr(self, name) not in {None, ()})
        if self.url is None and given:
            raise ValueError(f"{given[0]} is for a second index of its own; give its url as well")
        return self


class ReferenceSection(SecondSection):
    """A second index that tells what the mirror's pages lost: what it says is taken over for files with the same sha256, and only that.

    Nothing is asked of it without a `url`.
    `projects` and `exclude` hold for `[rescue]` as well, wherever that leads, and also without a `url` here.
    The public index learns the names of the projects that it is asked about, private ones too, unless they are excluded.
    """

    fields: Annotated[tuple[FilledField, ...], Allowed('a list of "upload-time", "size", "requires-python", "yanked"')] = Field(
        ("upload-time", "size", "requires-python", "yanked"), description="What is filled in where the mirror's page does not say it."
    )
    patience: Annotated[float, Field(ge=0, le=5), Unit.SECONDS] = Field(
        2.0, description="How long a page waits for the second index; what comes later is on the page when it is asked for again."
    )
    fresh: Seconds = Field(3600.0, description="How long a page of the second index is used before it is asked again.")
    absent: Seconds = Field(86400.0, description="How long it is remembered that the second index has no such project.")


class RescueSection(SecondSection):
    """Files that the mirror lists with a sha256 and cannot deliver are fetched from a second index, checked against that sha256.

    This is off unless it is enabled. Without a `url` the second index is that of `[reference]`.
    Only projects that `projects` and `exclude` of `[reference]` allow are rescued, also from a `url` of its own.
    A file that the mirror refuses (401, 403, 407, 451) is never fetched elsewhere: somebody may have blocked it on purpose.
    """

    enabled: bool = Field(default=False, description="Whether files are fetched from the second index at all.")
    causes: Annotated[tuple[RescuedCause, ...], Allowed('a list of "absent", "no-file", "no-answer", "mirror-error"')] = Field(
        ("absent", "no-file"),
        description="What a file is rescued from: 404 and 410; success with what is no file; no answer at all; 5xx. "
        "The last two can be a scanner that holds a file back: add them only where none is at work.",
    )

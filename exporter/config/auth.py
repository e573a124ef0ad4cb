"""Kinds of credentials; the file gives exactly one of them under ``auth``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, ConfigDict, Field, SecretStr, ValidationInfo

from exporter.config.secret_and_path_types import FilePath, HeaderSecret, Secret, header_secret, secret_from
from exporter.config.section_base import Section, collect_errors, exactly_one_of, problem, problem_at
from exporter.config.types import Text, Url
from exporter.humanize import join_words


def _given_or_read(value: SecretStr, info: ValidationInfo) -> SecretStr:
    """Return a secret that is given either under its key or in the file that ``{key}_file`` names."""
    key = info.field_name
    is_given = bool(value.get_secret_value())
    if f"{key}_file" not in info.data:  # it has an error of its own
        return value
    file = info.data[f"{key}_file"]
    if is_given == bool(file):
        found = "both are" if is_given else "none is"
        raise problem(f"needs exactly one of {key} or {key}_file; {found} given")
    return value if is_given else secret_from(file)


def _given_or_read_for_a_header(value: SecretStr, info: ValidationInfo) -> SecretStr:
    secret = _given_or_read(value, info)
    return header_secret(secret) if secret.get_secret_value() else secret


def _fits_a_header(value: str) -> str:
    return header_secret(value).get_secret_value()


class _Credentials(Section):
    keeps_secrets: ClassVar[bool] = True
    uses_iam: ClassVar[bool] = False

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that this kind of credentials names."""
        return tuple(value for value in self.__dict__.values() if isinstance(value, Path))


class TokenAuth(_Credentials):
    """A token obtained elsewhere; it expires after 24 hours."""

    token: HeaderSecret


class TokenFileAuth(_Credentials):
    """A token in a file that another program keeps fresh; the file is read again when it changes."""

    path: FilePath


class PasswordAuth(_Credentials):
    """An IAM user, for whom tokens are obtained as needed.

    ``password`` is filled from ``password_file``, ``project`` from the region.
    """

    uses_iam: ClassVar[bool] = True
    model_config = ConfigDict(json_schema_extra={"oneOf": exactly_one_of("password", "password_file")})

    domain: Text = Field(description="The name of the IAM user's account.", examples=["example-company"])
    username: Text = Field(description="The name of the IAM user.", examples=["build-exporter"])
    password_file: FilePath | None = Field(
        None,
        description="File with the password, instead of `password`. A line break at its end is ignored.",
        examples=["secrets/password"],
    )
    password: Annotated[Secret, AfterValidator(_given_or_read)] = Field(
        SecretStr(""),
        validate_default=True,
        description="The password. Give this or `password_file`.",
        examples=["${CODEARTS_PASSWORD}"],
    )
    project: Text = Field("", description="Name of the IAM project. Default: the region.")


class AccessKeyAuth(_Credentials):
    """An access key, which signs each request; ``secret_key`` is filled from ``secret_key_file``."""

    model_config = ConfigDict(json_schema_extra={"oneOf": exactly_one_of("secret_key", "secret_key_file")})

    access_key: Annotated[Text, AfterValidator(_fits_a_header)] = Field(
        description="The access key ID (AK).", examples=["${HUAWEICLOUD_SDK_AK}"]
    )
    secret_key_file: FilePath | None = Field(
        None,
        description="File with the secret key, instead of `secret_key`. A line break at its end is ignored.",
        examples=["secrets/secret-key"],
    )
    secret_key: Annotated[Secret, AfterValidator(_given_or_read_for_a_header)] = Field(
        SecretStr(""),
        validate_default=True,
        description="The secret access key (SK). Give this or `secret_key_file`.",
        examples=["${HUAWEICLOUD_SDK_SK}"],
    )
    security_token: HeaderSecret | None = Field(
        None,
        description="The security token of a temporary access key; permanent ones have none.",
        examples=["${HUAWEICLOUD_SDK_SECURITY_TOKEN}"],
    )
    project_id: Text | None = Field(
        None,
        description="ID of the IAM project, if the service requires one.",
        examples=["${HUAWEICLOUD_SDK_PROJECT_ID}"],
    )


class EcsAgencyAuth(_Credentials):
    """The agency of the cloud server (ECS) that the exporter runs on."""

    metadata_endpoint: Url = Field(
        "http://169.254.169.254", description="Base URL of the server's metadata service."
    )


Auth = TokenAuth | TokenFileAuth | PasswordAuth | AccessKeyAuth | EcsAgencyAuth


class AuthSection(_Credentials):
    """The section ``auth`` as written in the file."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                *exactly_one_of("token", "token_file", "password", "access_key"),
                {"required": ["ecs_agency"]},
            ]
        }
    )

    belongs_under: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("domain", "username", "password_file", "project"), "password"),
        **dict.fromkeys(("secret_key", "secret_key_file", "security_token", "project_id"), "access_key"),
    }

    token: HeaderSecret | None = Field(
        None,
        description="IAM token, scoped to the region's IAM project. It expires after 24 hours.",
        examples=["${CODEARTS_TOKEN}"],
    )
    token_file: FilePath | None = Field(
        None,
        description="File with an IAM token that another program renews. It is read again when it changes.",
        examples=["secrets/token"],
    )
    password: PasswordAuth | None = Field(
        None, description="IAM user. Tokens are obtained and renewed as needed."
    )
    access_key: AccessKeyAuth | None = Field(
        None, description="Access key, which signs each request and does not expire: the usual choice."
    )
    ecs_agency: EcsAgencyAuth | None = Field(
        None, description="Agency of the cloud server (ECS) that runs the exporter. The section may be empty."
    )

    @classmethod
    def expand_shorthand(cls, given: Mapping[str, object]) -> Mapping[str, object]:
        """Accept ``ecs_agency:`` with nothing after it as ``ecs_agency: {}``."""
        return {**given, "ecs_agency": {}} if given.get("ecs_agency", given) is None else given

    @classmethod
    def parse(cls, value: object, info: ValidationInfo) -> object:
        """Turn the section into one of `Auth`.

        Raises:
            ValidationError: none or several kinds are given, or there is an error within one.
        """
        if not isinstance(value, Mapping):
            return value if isinstance(value, Auth) else cls.model_validate(value)
        kinds = [key for key in value if key in cls.model_fields]
        problems = [
            problem_at(problem("is empty; give a value"), key)
            for key in kinds
            if value[key] is None and key != "ecs_agency"
        ]
        if len(kinds) != 1 and (kinds or not value):
            found = join_words(kinds) if kinds else "none"
            expected = join_words(cls.model_fields, "or")
            problems.append(problem_at(problem(f"needs exactly one of {expected}; found {found}")))
        validate = cls.model_validate
        section = collect_errors("auth", problems, lambda: validate(value, context=info.context))
        if section.token is not None:
            return TokenAuth(token=section.token)
        if section.token_file is not None:
            return TokenFileAuth(path=section.token_file)
        return section.password or section.access_key or section.ecs_agency

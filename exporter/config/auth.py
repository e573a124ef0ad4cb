"""The kinds of credentials, of which the file gives exactly one under ``auth``."""

from collections.abc import Callable, Mapping
from typing import ClassVar

from pydantic import ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from exporter.config.problems import listing
from exporter.config.secret_types import FilePath, HeaderSecret, Secret, header_secret, secret, secret_from
from exporter.config.section import Section, at, exactly_one_of, gathered, problem
from exporter.config.types import Text, Url


def _given_or_read(
    value: SecretStr, info: ValidationInfo, key: str, check: Callable[[object], SecretStr] = secret
) -> SecretStr:
    """Settle on a secret that is given either directly or in ``{key}_file``."""
    given = bool(value.get_secret_value())
    if f"{key}_file" not in info.data:  # it has a problem of its own
        return value
    file = info.data[f"{key}_file"]
    if given == bool(file):
        found = "both are" if given else "none is"
        raise problem(f"needs exactly one of {key} or {key}_file; {found} given")
    return check(value if given else secret_from(file))


class _Credentials(Section):
    keeps_secrets: ClassVar[bool] = True


class TokenAuth(_Credentials):
    """A token that somebody else obtained; it ends after 24 hours."""

    token: HeaderSecret = Field(description="a project-scoped IAM token of the region")


class TokenFileAuth(_Credentials):
    """A token in a file that somebody else keeps fresh; the file is read again when it changes."""

    path: FilePath = Field(description="the path of a file that holds an IAM token")


class PasswordAuth(_Credentials):
    """An IAM user, for whom tokens are obtained as needed.

    ``password`` is filled from ``password_file``, ``project`` from the region.
    """

    model_config = ConfigDict(json_schema_extra={"oneOf": exactly_one_of("password", "password_file")})

    domain: Text = Field(
        description="the name of the account that the IAM user belongs to", examples=["example-company"]
    )
    username: Text = Field(description="the name of the IAM user", examples=["build-exporter"])
    password_file: FilePath | None = Field(
        None,
        description="a file that holds the password, in place of `password`. One line break at its end does "
        "not count",
        examples=["secrets/password"],
    )
    password: Secret = Field(
        SecretStr(""),
        validate_default=True,
        description="the password. Give this or `password_file`",
        examples=["${CODEARTS_PASSWORD}"],
    )
    project: Text = Field("", description="the name of the IAM project; by default the region")

    @field_validator("password")
    @classmethod
    def _from_file(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        return _given_or_read(value, info, "password")


class AccessKeyAuth(_Credentials):
    """An access key, which signs each request; ``secret_key`` is filled from ``secret_key_file``."""

    model_config = ConfigDict(json_schema_extra={"oneOf": exactly_one_of("secret_key", "secret_key_file")})

    access_key: Text = Field(description="the access key ID (AK)", examples=["${HUAWEICLOUD_SDK_AK}"])
    secret_key_file: FilePath | None = Field(
        None,
        description="a file that holds the secret access key, in place of `secret_key`. One line break at "
        "its end does not count",
        examples=["secrets/secret-key"],
    )
    secret_key: Secret = Field(
        SecretStr(""),
        validate_default=True,
        description="the secret access key (SK). Give this or `secret_key_file`",
        examples=["${HUAWEICLOUD_SDK_SK}"],
    )
    security_token: HeaderSecret | None = Field(
        None,
        description="goes with a temporary access key, and only with one",
        examples=["${HUAWEICLOUD_SDK_SECURITY_TOKEN}"],
    )
    project_id: Text | None = Field(
        None,
        description="the ID of the IAM project, where the service asks for one",
        examples=["${HUAWEICLOUD_SDK_PROJECT_ID}"],
    )

    @field_validator("access_key")
    @classmethod
    def _fit_for_a_header(cls, value: str) -> str:
        return header_secret(value).get_secret_value()

    @field_validator("secret_key")
    @classmethod
    def _from_file(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        return _given_or_read(value, info, "secret_key", check=header_secret)


class EcsAgencyAuth(_Credentials):
    """The agency of the cloud server that the exporter runs on."""

    metadata_endpoint: Url = Field(
        "http://169.254.169.254", description="where the server's metadata service answers"
    )


Auth = TokenAuth | TokenFileAuth | PasswordAuth | AccessKeyAuth | EcsAgencyAuth


class AuthSection(_Credentials):
    """``auth`` as it stands in the file."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                *exactly_one_of("token", "token_file", "password", "access_key"),
                {"required": ["ecs_agency"]},
            ]
        }
    )

    token: HeaderSecret | None = Field(
        None,
        description="an IAM token, scoped to the IAM project of the region. It ends after 24 hours: good for "
        "a first try",
        examples=["${CODEARTS_TOKEN}"],
    )
    token_file: FilePath | None = Field(
        None,
        description="a file that holds an IAM token, and that somebody else keeps fresh. It is read again "
        "when it changes",
        examples=["secrets/token"],
    )
    password: PasswordAuth | None = Field(
        None, description="an IAM user. Tokens are obtained and renewed as needed"
    )
    access_key: AccessKeyAuth | None = Field(
        None, description="an access key, which signs each request and does not end: the usual choice"
    )
    ecs_agency: EcsAgencyAuth | None = Field(
        None,
        description="the agency of the cloud server that the exporter runs on. There is no secret to keep; "
        "`{}` or nothing after it will do",
    )

    @classmethod
    def unfold(cls, value: object) -> object:
        """Read ``ecs_agency:`` with nothing after it as ``ecs_agency: {}``."""
        if isinstance(value, Mapping) and value.get("ecs_agency", value) is None:
            return {**value, "ecs_agency": {}}
        return value

    @classmethod
    def read(cls, value: object, info: ValidationInfo) -> object:
        """Turn the section into one of `Auth`.

        Raises:
            ValidationError: none or several kinds are given, or there is a mistake within one.
        """
        if not isinstance(value, Mapping):
            return value if isinstance(value, Auth) else cls.model_validate(value)
        kinds = [key for key in value if key in cls.model_fields]
        problems = [
            at(problem("is empty; give a value"), key)
            for key in kinds
            if value[key] is None and key != "ecs_agency"
        ]
        if len(kinds) != 1 and (kinds or not value):
            found = listing(kinds) if kinds else "none"
            wanted = listing(cls.model_fields, "or")
            problems.append(at(problem(f"needs exactly one of {wanted}; found {found}")))
        validate = cls.model_validate
        return gathered("auth", problems, lambda: validate(value, context=info.context))._choice()

    def _choice(self) -> Auth:
        if self.token is not None:
            return TokenAuth(token=self.token)
        if self.token_file is not None:
            return TokenFileAuth(path=self.token_file)
        choice = self.password or self.access_key or self.ecs_agency
        assert choice is not None  # noqa: S101 (one of the five is given, or `read` has raised)
        return choice

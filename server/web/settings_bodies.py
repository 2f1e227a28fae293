"""What is answered about settings, field by field."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from server.settings import Origin


class SettingBody(Struct, frozen=True):
    """One setting."""

    name: Annotated[str, Meta(description="in the environment and in .env")]
    value: Annotated[str | None, Meta(description="in force, as text; null: not set; *** where it is secret")]
    origin: Annotated[Origin, Meta(description="where the value comes from")] = field(name="from")
    about: Annotated[str, Meta(description="what it does, one sentence")]
    secret: Annotated[bool, Meta(description="whether its value is never told")]


class HttpsBody(Struct, frozen=True):
    """Whether browsers reach this server over https, without which phones do not give their camera."""

    on: bool
    by: Annotated[Literal["server", "proxy"] | None, Meta(description="who speaks it; null where nobody does")]
    made_here: Annotated[
        bool, Meta(description="whether the certificate was made here: phones have to trust what `GET /ca` answers")
    ]
    fingerprint: Annotated[
        str | None, Meta(description="SHA-256 of what is to be trusted, as phones show it; null where it is not ours")
    ]


class SettingsBody(Struct, frozen=True):
    """How this server is set, and where others find it."""

    settings: Annotated[list[SettingBody], Meta(description="all there are")]
    addresses: Annotated[
        list[str],
        Meta(
            description="where others find the page, the one a phone most likely needs first; [] on this machine alone"
        ),
    ]
    https: HttpsBody
    machine: Annotated[str, Meta(description="the name of the server's machine")]
    data_dir: Annotated[str, Meta(description="where everything that the server writes is")]
    env_file: Annotated[str, Meta(description="the .env file that is read at the start, whether it is there or not")]
    version: Annotated[str, Meta(description="of the software")]

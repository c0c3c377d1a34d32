"""Login by a provider: what Panel must know of it is looked for before anything is served, and said in words."""

from __future__ import annotations

import os
from collections.abc import Sequence

from workbench.config import SettingError

_OWN_ADDRESSES = ("generic", "password", "auth_code")  # providers whose addresses are told
_ADDRESSES = ("PANEL_OAUTH_AUTHORIZE_URL", "PANEL_OAUTH_TOKEN_URL")
_WITHOUT_SECRET = ("password", "auth_code")
_OF_THIS_MACHINE = "pam"  # asks the accounts here; needs no key


def check_provider(name: str, password: str = "") -> None:
    """Look whether somebody can log in by a provider.

    Parameters
    ----------
    name : of the provider; password : of the login that is wanted besides, there may be none

    Raises
    ------
    SettingError : when Panel does not know it, or a variable that it needs is not set
    """
    from panel.auth import AUTH_PROVIDERS

    if name not in AUTH_PROVIDERS:
        raise SettingError(f"--oauth-provider: expected one of {', '.join(sorted(AUTH_PROVIDERS))}, got {name!r}")
    if password:
        raise SettingError(
            "--oauth-provider: expected it alone, got --basic-auth with it; leave one of them away, a page has one login"
        )
    if os.environ.get("PANEL_OAUTH_PROVIDER"):
        raise SettingError(
            "--oauth-provider: expected PANEL_OAUTH_PROVIDER not to be set besides, "
            f"got {os.environ['PANEL_OAUTH_PROVIDER']!r}; unset it"
        )
    lacking = [variable for variable in _needed(name) if not os.environ.get(variable)]
    if lacking:
        raise SettingError(
            f"--oauth-provider {name}: expected {' and '.join(_needed(name))} in the environment, "
            f"got no {' and no '.join(lacking)}; set what the provider gave you when this page was registered there"
        )


def _needed(name: str) -> Sequence[str]:
    """Return the variables that a provider cannot do without."""
    if name == _OF_THIS_MACHINE:
        return ()
    secret = () if name in _WITHOUT_SECRET else ("PANEL_OAUTH_SECRET",)
    own = ("PANEL_OAUTH_EXTRA_PARAMS" not in os.environ) and name in _OWN_ADDRESSES  # they may be told there
    return ("PANEL_OAUTH_KEY", *secret, *(_ADDRESSES if own else ()))

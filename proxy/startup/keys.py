"""Who may reach the proxy: the file of keys is read, and a start that would let everybody in is refused."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from proxy.errors import SettingsError
from proxy.policy.store import PolicyStore
from proxy.server.http.cors import is_loopback
from proxy.server.http.listener import bound_host
from proxy.server.keys.store import KeyStore
from proxy.settings import Settings

FIX = (
    "make a key (safety-proxy key new NAME --write --keys keys.yaml) and set keys; or set allow_anonymous, if only "
    "those can reach it who may use it"
)

log = logging.getLogger("safety_proxy.keys")


def load_keys(settings: Settings) -> KeyStore | None:
    """The keys that are set; None: there are none, and nobody is asked for one. Raises KeysError."""
    if settings.keys is None:
        return None
    store = KeyStore(settings.keys)
    store.load()
    return store


def refuse_open_listeners(settings: Settings) -> None:
    """Raise SettingsError if other machines could reach a listener, and nobody would be asked for a key."""
    if settings.keys is not None:
        return
    is_admin_open = settings.admin is not None and not is_loopback(bound_host(settings.admin))
    if is_admin_open and "*" in settings.proxy_headers_from:
        raise SettingsError(
            "proxy_headers_from is *, so anybody who reaches admin could pass for this machine, and there are no keys: "
            "name the addresses of the reverse proxies, or make keys"
        )
    if settings.allow_anonymous:
        return
    for name, address in (("listen", settings.listen), ("admin", settings.admin)):
        if address is not None and not is_loopback(bound_host(address)):
            raise SettingsError(f"{name} is {address}, which other machines can reach, and there are no keys: {FIX}")


def refuse_open_application(settings: Settings) -> None:
    """The same under another ASGI server, whose address is not known."""
    if settings.allow_remote_clients and settings.keys is None and not settings.allow_anonymous:
        raise SettingsError(f"allow_remote_clients is true, and there are no keys: {FIX}")


def follow_policies(stores: Sequence[PolicyStore], keys: KeyStore | None) -> None:
    """Tell what does not fit together of policies and keys, now and after each load of either."""
    tell_unused_policies(stores, keys)
    listened_to = [store.listeners for store in stores] + ([] if keys is None else [keys.listeners])
    for listeners in listened_to:
        listeners.append(lambda _: tell_unused_policies(stores, keys))


def tell_unused_policies(stores: Sequence[PolicyStore], keys: KeyStore | None) -> None:
    """Log policies that are for keys only of which there is none: such a policy looks like a guard and guards nothing.
    And policies of keys that are not loaded: the requests of these keys are refused."""
    known = {key.name for key in keys.current.keys} if keys is not None else set()
    for policy in (policy for store in stores for policy in store.current.policies):
        named = policy.scope.keys
        if named and not named & known:
            log.warning("the policy %s applies to no request: there is no key of its applies_to.keys", policy.name)
    loaded = {policy.name for policy in stores[0].current.policies}
    for key in keys.current.keys if keys is not None else ():
        for name in key.policies:
            if name not in loaded:
                log.warning("requests with the key %s will be refused: its policy %s is not loaded", key.name, name)

"""`safety-proxy pause` and `safety-proxy resume`: the kill switch of a running proxy, through its admin listener."""

from __future__ import annotations

import argparse
import ssl
from typing import Any

import httpx

from proxy.cli.banner import dialled
from proxy.cli.config import effective_settings
from proxy.errors import SettingsError
from proxy.settings import Settings

TIMEOUT = 10.0  # seconds


def pause(args: argparse.Namespace) -> int:
    """Refuse all generation, and end what runs. Raises SettingsError if no proxy can be told so."""
    told = _post(effective_settings(args).settings, "/admin/pause", {"message": args.message})
    print(f"paused: {told['paused']}")
    if not told["survives_restart"]:
        print("it ends with a restart of the proxy (set state_dir to keep it)")
    return 0


def resume(args: argparse.Namespace) -> int:
    """Serve again. Raises SettingsError if no proxy can be told so."""
    _post(effective_settings(args).settings, "/admin/resume", {})
    print("resumed")
    return 0


def _post(settings: Settings, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """What the admin listener says."""
    address = settings.admin
    if address is None:
        raise SettingsError("admin is off, so there is nobody to tell; start the proxy with an admin listener")
    url = dialled(address, "https" if settings.tls_certificate else "http") + path
    headers = {"authorization": f"Bearer {settings.admin_key}"} if settings.admin_key else {}
    try:
        with _client(settings) as client:
            response = client.post(url, json=body, headers=headers)
    except (httpx.TransportError, OSError) as error:
        raise SettingsError(f"no proxy answers at {address} ({error}); the setting admin says where it is") from None
    if response.status_code in (401, 403):
        raise SettingsError(f"{response.text.strip()} (setting admin_key, best as SAFETY_PROXY_ADMIN_KEY_FILE)")
    if response.status_code != httpx.codes.OK:
        raise SettingsError(f"{url} answers with status {response.status_code}: is it a safety-proxy?")
    found: dict[str, Any] = response.json()
    return found


def _client(settings: Settings) -> httpx.Client:
    host = settings.admin.host if settings.admin is not None else ""
    socket = host.removeprefix("unix:") if host.startswith("unix:") else None
    transport = httpx.HTTPTransport(uds=socket, verify=_trust(settings))
    return httpx.Client(transport=transport, timeout=TIMEOUT, trust_env=False)


def _trust(settings: Settings) -> ssl.SSLContext | bool:
    """The proxy's own certificate, and nothing else: it is dialled by its address, which no certificate need name."""
    if settings.tls_certificate is None:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # knows no authority; none is asked
    context = ssl.create_default_context(cafile=str(settings.tls_certificate))
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context

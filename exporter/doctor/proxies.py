"""Which proxy the environment names for an address."""

from urllib.parse import urlsplit

from requests.utils import get_environ_proxies, select_proxy

from exporter.api.transport import proxy_variable
from exporter.config import Config, PasswordAuth
from exporter.doctor.address import Proxy


def proxies_of(config: Config) -> dict[str, Proxy]:
    """The proxies on the way to what is asked, by the key of its address; metadata is asked for directly."""
    urls = {"endpoint": config.endpoint}
    if isinstance(config.auth, PasswordAuth):
        urls["iam_endpoint"] = config.iam_endpoint
    return {key: proxy for key, url in urls.items() if (proxy := proxy_for(url))}


def proxy_for(url: str) -> Proxy | None:
    """The proxy that requests to an address go through; never with its user and password."""
    found = select_proxy(url, get_environ_proxies(url))
    if not found:
        return None
    return Proxy(proxy_variable(url, found), _without_user(found))


def _without_user(proxy: str) -> str:
    """Scheme, host and port; nothing at all of what cannot be told apart."""
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        port = f":{parts.port}" if parts.port else ""
        if "@" in proxy and "@" not in parts.netloc:  # cut by a character of the password
            raise ValueError
    except ValueError:
        return "(its address cannot be read)"
    return f"{parts.scheme}://{parts.hostname or '?'}{port}"

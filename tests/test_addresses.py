import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchpush.addresses import (
    INSIDE,
    MAX_ADDRESS,
    NO_APPS,
    PRIVATE,
    is_deep_link,
    is_media_address,
    is_public,
    is_scheme_of_an_app,
)

SCHEMES = {"https", "myapp", "com.example.my-app+beta", "fb123"}

MEDIA = [
    "https://example.com/p.jpg",
    "https://EXAMPLE.com:443/p.jpg?size=1#top",
    "https://example.com/" + "x" * (MAX_ADDRESS - len("https://example.com/")),
    "https://photos.10.example.com/",
    "https://8.8.8.8.dns.example.com/",
    "https://unipio.io/",
    "https://svc.example.com/",
    "https://local.example.com/",
    "https://test.com/",
    "https://1password.com/",
    "https://example.com./",
    "https://firebasestorage.googleapis.com/v0/b/demo.appspot.com/o/a%2Fb.png?alt=media&token=1",
    "https://xn--bcher-kva.example.com/",
    "https://my_bucket.s3.amazonaws.com/",
    "https://example.com/images/é@2x.png",
    "https://1.2.3.4.example.com/",
    "https://10.0.0.256.example.com/",  # no address
]
NOT_MEDIA = {
    "http://example.com/": "not encrypted",
    "HTTPS://example.com/": "not as Batch is known to take it",
    "//example.com/p.jpg": "no scheme",
    "https:/example.com": "no host",
    "https://": "no host",
    "https:///p.jpg": "no host",
    "https://user@example.com/": "a user",
    "https://user:password@example.com/": "a password",
    "https://example.com@evil.com/": "looks like another host",
    "https://@example.com/": "an empty user",
    "https://127.0.0.1/": "an IP address",
    "https://127.1/": "a short one",
    "https://2130706433/": "as one number",
    "https://0x7f.0.0.1/": "in hexadecimal",
    "https://0x7f000001/": "in hexadecimal",
    "https://127.0.0.0x1/": "in hexadecimal at its end",
    "https://0177.0.0.1/": "in octal",
    "https://169.254.169.254./": "the metadata server",
    "https://[::1]/": "IPv6",
    "https://[::ffff:127.0.0.1]/": "IPv6",
    "https://[not-an-address/": "broken",
    "https://１２７.0.0.1/": "in other digits, which a browser reads",
    "https://ⓛocalhost.com/": "letters that a browser reads as others",
    "https://localhost/": "private",
    "https://localhost.:443/": "private",
    "https://printer/": "private",
    "https://metadata.google.internal/": "private",
    "https://nas.local/": "private",
    "https://db.prod.svc/": "in a cluster",
    "https://db.prod.svc.cluster.local/": "in a cluster",
    "https://kubernetes.default/": "in a cluster",
    "https://kubernetes.default.svc./": "in a cluster",
    "https://ip-10-0-0-1.ec2.internal/": "in a cloud",
    "https://vm1.internal.cloudapp.net/": "in a cloud",
    "https://expyuzz4wqqyqhjn.onion/": "on another network",
    "https://shop.test/": "for tests in a network",
    "https://shop.invalid/": "nowhere",
    "https://1.0.168.192.in-addr.arpa/": "no host",
    "https://nip.io/": "resolves to any address",
    "https://127.0.0.1.nip.io/": "resolves inside",
    "https://app-10-0-0-1.nip.io/": "resolves inside",
    "https://7f000001.nip.io/": "resolves inside",
    "https://192-168-1-250.sslip.io/": "resolves inside",
    "https://--1.sslip.io/": "resolves inside",
    "https://www.8-8-8-8.sslip.io/": "resolves to any address",
    "https://10.0.0.1.xip.io/": "resolves inside",
    "https://localtest.me/": "resolves to the machine itself",
    "https://a.b.localtest.me./": "resolves to the machine itself",
    "https://LVH.me/": "resolves to the machine itself",
    "https://vcap.me/": "resolves to the machine itself",
    "https://192-168-1-5.abcdef.plex.direct/": "resolves inside",
    "https://printer.tailnet-1234.ts.net/": "resolves inside",
    "https://127.0.0.1.wildcard.example.com/": "an address of the machine itself in its name",
    "https://a-192-168-0-1.example.com/": "an address of a network in its name",
    "https://1-10-0-0-1.example.com/": "an address of a network in its name",
    "https://169.254.169.254.example.com/": "the metadata server in its name",
    "https://example.com:8443/": "another port",
    "https://example.com:80/": "another port",
    "https://example.com:0/": "another port",
    "https://example.com/" + "x" * MAX_ADDRESS: "too long",
    "https://router.home.arpa/": "private",
    "https://example..com/": "an empty label",
    "https://-example.com/": "no host",
    "https://example.com:port/": "no port",
    "https://example.com:99999/": "no port",
    "https://example.com\\@evil.com/": "a backslash, which browsers read as a slash",
    "https://example.com/a b": "a blank",
    "https://example.com/\n": "a control character",
    "https://exam\tple.com/": "a control character that parsers drop",
    "https://example.com/\x00": "a control character",
    "https://example.com/\x85": "a control character",
    "https://example.com/\u2028": "a line separator",
    "https://example.com/\u202egpj.exe": "text that turns around",
    "": "nothing",
}
LINKS = [
    "https://example.com/orders/1",
    "https://localhost/",  # a phone's own business
    "https://[::1]:8443/",
    "https://xn--pple-43d.com/",
    "MyApp://x",
    "myapp://",
    "myapp://conversations/c1?from=push",
    "myapp://web?page=https://example.com/",
    "com.example.my-app+beta://x",
    "fb123://x",
]
NO_LINKS = {
    "": "nothing",
    "conversations/c1": "no scheme",
    "://x": "no scheme",
    "1app://x": "no scheme",
    "my app://x": "no scheme",
    "myapp:x": "not a link of an app",
    "http://example.com/": "not encrypted",
    "HTTP://example.com/": "not encrypted",
    "https://": "no host",
    "https://user:password@example.com/": "a password",
    "https://bank.example.com@evil.com/": "looks like another host",
    "otherapp://x": "another app's",
    "myapp2://x": "another app's",
    "https://\u0430pple.com/": "a letter that looks like another",
    "https://ex%61mple.com/": "a letter that is not seen",
    "myapp://" + "x" * MAX_ADDRESS: "too long",
    "javascript://%0aalert(1)": "code",
    "JavaScript://%0aalert(1)": "code",
    "javascript:alert(1)": "code",
    "data:text/html,x": "code",
    "vbscript://x": "code",
    "file:///etc/passwd": "a file",
    "content://com.android.contacts/1": "somebody else's data",
    "intent://x#Intent;component=a/.B;end": "any part of any app",
    "tel://112": "a call",
    "view-source:https://example.com": "two schemes",
    "myapp://a\nb": "a control character",
    "my\tapp://a": "a control character",
    "java\nscript://%0aalert(1)": "code behind a control character",
    " myapp://a": "a blank",
    "myapp://a\u2029": "a paragraph separator",
    "myapp://\x9b31m": "a terminal's command",
    "myapp:\\\\a": "backslashes",
}


@pytest.mark.parametrize("address", MEDIA)
def test_media_are_taken_from_public_hosts(address: str) -> None:
    assert is_media_address(address)


@pytest.mark.parametrize(("address", "why"), NOT_MEDIA.items())
def test_media_are_taken_from_nowhere_else(address: str, why: str) -> None:
    assert not is_media_address(address), why


@pytest.mark.parametrize("link", LINKS)
def test_a_deep_link_leads_to_the_web_or_into_an_app(link: str) -> None:
    assert is_deep_link(link, SCHEMES)


@pytest.mark.parametrize(("link", "why"), NO_LINKS.items())
def test_a_deep_link_leads_nowhere_else(link: str, why: str) -> None:
    assert not is_deep_link(link, SCHEMES), why


INVISIBLE = st.characters(categories=("Cc", "Cf", "Cs", "Zl", "Zp", "Zs"))
TEXT = st.text(string.ascii_letters + string.digits + "-._~/?#%:", max_size=20)


@given(st.sampled_from(MEDIA + LINKS), INVISIBLE, st.data())
def test_what_cannot_be_seen_is_in_neither(
    address: str, character: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(address)))
    address = address[:at] + character + address[at:]
    assert not is_media_address(address)
    assert not is_deep_link(address, SCHEMES)


@given(st.ip_addresses(), TEXT)
def test_no_ip_address_is_a_host_for_media(address: object, rest: str) -> None:
    host = f"[{address}]" if ":" in str(address) else str(address)
    assert not is_media_address(f"https://{host}/{rest}")


@given(st.from_regex(r"([a-z0-9-]{1,10}\.){0,3}", fullmatch=True), st.sampled_from(sorted(PRIVATE)))
def test_no_private_name_is_a_host_for_media(subdomains: str, private: str) -> None:
    assert not is_media_address(f"https://{subdomains}{private}/p.jpg")


@given(st.sampled_from(sorted(NO_APPS)), st.sampled_from(["://", ":", ":/"]), TEXT, st.data())
def test_however_it_is_written_a_phones_own_scheme_is_no_link(
    scheme: str, colon: str, rest: str, data: st.DataObject
) -> None:
    upper = data.draw(st.sets(st.integers(0, len(scheme) - 1)))
    written = "".join(c.upper() if i in upper else c for i, c in enumerate(scheme))
    assert not is_deep_link(written + colon + rest, {scheme, *SCHEMES})


@given(st.text())
def test_any_text_is_judged(text: str) -> None:
    for address in (text, f"https://{text}", f"myapp://{text}"):
        is_media_address(address)
        is_deep_link(address, SCHEMES)


@pytest.mark.parametrize(
    ("host", "is_taken"),
    [
        ("cdn.example.com", True),
        ("CDN.example.com", True),
        ("cdn.example.com.", True),
        ("cdn.example.com:443", True),
        ("a.cdn.example.com", False),
        ("example.com", False),
        ("cdn.example.com.evil.com", False),
        ("a.example.org", True),
        ("a.b.example.org", True),
        ("example.org", False),
        ("badexample.org", False),
        ("cdn.example.com@evil.com", False),
        ("cdn.example.com:8443", False),
    ],
)
def test_media_are_taken_from_the_hosts_that_are_named(host: str, is_taken: bool) -> None:
    hosts = {"cdn.example.com", ".example.org"}
    assert is_media_address(f"https://{host}/p.jpg", hosts) is is_taken


@pytest.mark.parametrize("address", NOT_MEDIA)
def test_a_list_of_hosts_lets_nothing_in_that_is_kept_out(address: str) -> None:
    hosts = {".com", ".io", ".me", ".local", ".internal", "127.0.0.1", "localhost"}
    assert not is_media_address(address, hosts)


@given(st.from_regex(r"([a-z0-9-]{1,10}\.){0,3}", fullmatch=True), st.sampled_from(sorted(INSIDE)))
def test_no_name_under_a_domain_that_leads_inside_is_public(subdomains: str, domain: str) -> None:
    assert not is_public(subdomains + domain)


@given(st.ip_addresses(v=4).filter(lambda address: not address.is_global), st.sampled_from(".-"))
def test_no_name_that_spells_a_private_address_is_public(address: object, separator: str) -> None:
    spelled = str(address).replace(".", separator)
    assert not is_public(f"{spelled}.example.com")
    assert not is_public(f"app-{spelled}-x.example.com")


@pytest.mark.parametrize("scheme", ["myapp", "com.example.app", "a+b-c.d", "MyApp"])
def test_an_app_has_a_scheme_of_its_own(scheme: str) -> None:
    assert is_scheme_of_an_app(scheme)


@pytest.mark.parametrize("scheme", ["", "https", "HTTP", "javascript", "1a", "my app", "a:b", "é"])
def test_what_is_not_an_app_s_own_is_no_scheme_of_one(scheme: str) -> None:
    assert not is_scheme_of_an_app(scheme)

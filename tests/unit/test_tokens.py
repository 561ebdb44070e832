"""Tokens are what they say, or open nothing: the attacks of RFC 8725 and of others."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from uuid import uuid4

import jwt
import pytest
from anyio import Event, create_task_group, fail_after, to_thread
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm
from pydantic import SecretStr

from app.access import keyring
from app.access.keyring import Keyring
from app.access.tokens import MOST_LENGTH, TokenRules, Tokens
from app.domain.access import Caller, Role
from app.domain.errors import Unknown
from tests.api.callers import SECRET, token

RULES = TokenRules()
OTHER = "another secret for tests, also long enough"


def tokens(*secrets: str, keys: Keyring | None = None, **rules: Any) -> Tokens:
    return Tokens([SecretStr(each) for each in secrets], keys, TokenRules(**rules))


def soon(**delta: float) -> datetime:
    return datetime.now(UTC) + timedelta(**delta)


async def test_a_token_says_who_comes() -> None:
    caller = await tokens(SECRET).read(token())
    assert (caller.owner, caller.role, caller.subject, caller.session_id) == (
        "acme",
        Role.CANDIDATE,
        "ada",
        "interview-1",
    )
    assert caller.key_id is None
    assert caller.expires_at is not None


async def test_what_is_made_here_can_be_read_here() -> None:
    house = tokens(SECRET, issuer="here", audience="there")
    who = Caller(
        owner="acme", role=Role.INTERVIEWER, subject="ivan", session_id="s", key_id=uuid4()
    )
    text, ends = house.make(who, lifetime=timedelta(minutes=1))
    read = await house.read(text.get_secret_value())
    assert read == Caller(
        owner="acme",
        role=Role.INTERVIEWER,
        subject="ivan",
        session_id="s",
        key_id=who.key_id,
        expires_at=ends,
    )
    assert text.get_secret_value() not in repr(text)


async def test_an_older_secret_still_proves_and_the_first_one_makes() -> None:
    house = tokens(OTHER, SECRET)
    assert (await house.read(token())).owner == "acme"
    who = Caller(owner="acme", role=Role.CANDIDATE, subject="ada", session_id="s")
    text, _ = house.make(who, lifetime=timedelta(minutes=1))
    assert (await tokens(OTHER).read(text.get_secret_value())).owner == "acme"
    with pytest.raises(Unknown):
        await tokens(SECRET).read(text.get_secret_value())


def unsigned(algorithm: str) -> str:
    header, payload, _ = token().split(".")
    del header
    made = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "typ": "JWT"}).encode())
    return f"{made.rstrip(b'=').decode()}.{payload}."


# Made when they are tried: one that has expired meanwhile opens nothing for another reason.
ATTACKS: dict[str, Callable[[], str]] = {
    "no text": lambda: "",
    "no token": lambda: "abc",
    "three parts of nothing": lambda: "..",
    "not signed": lambda: unsigned("none"),
    "not signed, in capitals": lambda: unsigned("NONE"),
    "signed by nobody": lambda: unsigned("HS256"),
    "another algorithm of the same secret": lambda: jwt.encode(
        jwt.decode(token(), options={"verify_signature": False}), SECRET * 3, algorithm="HS512"
    ),
    "another secret": lambda: token(secret=OTHER),
    "another audience": lambda: token(aud="elsewhere"),
    "no audience": lambda: token(aud=None),
    "expired": lambda: token(exp=soon(minutes=-5)),
    "never expires": lambda: token(exp=None),
    "lives too long": lambda: token(exp=soon(days=2)),
    "expires in a million years": lambda: token(exp=10**16),
    "not yet valid": lambda: token(nbf=soon(minutes=5)),
    "made in the future": lambda: token(iat=soon(minutes=5)),
    "no owner": lambda: token(owner=None),  # type: ignore[arg-type]
    "an empty owner": lambda: token(owner=""),
    "an owner with a newline": lambda: token(owner="acme\n"),
    "an owner that is a number": lambda: token(owner=5),  # type: ignore[arg-type]
    "no subject": lambda: token(subject=None),  # type: ignore[arg-type]
    "a subject with NUL": lambda: token(subject="a\0"),
    "a subject without end": lambda: token(subject="a" * 201),
    "no role": lambda: token(role=None),  # type: ignore[arg-type]
    "an administrator": lambda: token(role="ADMIN", session_id=None),
    "an unknown role": lambda: token(role="ROOT"),
    "several roles": lambda: token(role=["SERVICE"]),  # type: ignore[arg-type]
    "a candidate without a session": lambda: token(session_id=None),
    "an interviewer without a session": lambda: token(role="INTERVIEWER", session_id=None),
    "a session that is an object": lambda: token(session_id={}),  # type: ignore[arg-type]
    "a key that is none": lambda: token(key="x"),
    "oversized": lambda: token(padding="x" * MOST_LENGTH),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
async def test_it_opens_nothing(attack: Callable[[], str]) -> None:
    with pytest.raises(Unknown) as refused:
        await tokens(SECRET).read(attack())
    assert ("expired" in str(refused.value)) is (attack is ATTACKS["expired"])


async def test_a_wrong_issuer_opens_nothing_where_one_is_expected() -> None:
    house = tokens(SECRET, issuer="platform")
    assert (await house.read(token(iss="platform"))).owner == "acme"
    for wrong in (token(), token(iss="other")):
        with pytest.raises(Unknown):
            await house.read(wrong)


async def test_an_end_may_lie_between_seconds() -> None:
    ends = soon(minutes=1).timestamp()
    caller = await tokens(SECRET).read(token(exp=ends))
    assert caller.expires_at is not None
    assert abs(caller.expires_at.timestamp() - ends) < 1


async def test_clocks_may_differ_a_little() -> None:
    await tokens(SECRET, leeway=30).read(token(exp=soon(seconds=-10)))
    with pytest.raises(Unknown, match="expired"):
        await tokens(SECRET, leeway=1).read(token(exp=soon(seconds=-10)))


class Keys:
    """A server with a set of keys that can change, and counts who asks."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.asked, self.status = 0, 200
        self._keys: dict[str, rsa.RSAPrivateKey] = {}

    def add(self, name: str, **changes: Any) -> None:
        self._keys[name] = key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        entry = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
        self.entries.append(entry | {"kid": name, "use": "sig", "alg": "RS256"} | changes)

    def token(self, name: str, **claims: Any) -> str:
        content = jwt.decode(token(**claims), options={"verify_signature": False})
        return jwt.encode(content, self._keys[name], "RS256", headers={"kid": name})

    def public(self, name: str) -> bytes:
        key = self._keys[name].public_key()
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@asynccontextmanager
async def serving(keys: Keys) -> AsyncIterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys.asked += 1
            self.send_response(keys.status)
            self.end_headers()
            self.wfile.write(json.dumps({"keys": keys.entries}).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/keys"
    finally:
        await to_thread.run_sync(server.shutdown)
        thread.join()
        server.server_close()


@pytest.fixture
def keys() -> Keys:
    keys = Keys()
    keys.add("first")
    return keys


async def test_a_public_key_proves_tokens_that_are_made_elsewhere(keys: Keys) -> None:
    async with serving(keys) as url:
        house = tokens(keys=Keyring(url))
        assert not house.can_make
        for _ in range(3):
            assert (await house.read(keys.token("first"))).owner == "acme"
    assert keys.asked == 1


async def test_a_new_key_is_found_but_strangers_do_not_make_us_look_again_and_again(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(keys) as url:
        house = tokens(keys=Keyring(url))
        await house.read(keys.token("first"))
        keys.add("second")
        for _ in range(5):
            with pytest.raises(Unknown):
                await house.read(keys.token("second"))
        assert keys.asked == 1
        monkeypatch.setattr(keyring, "AGAIN", 0.0)
        await house.read(keys.token("second"))
        assert keys.asked == 2


async def test_a_withdrawn_key_opens_nothing_once_the_keys_are_old(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(keys) as url:
        house = tokens(keys=Keyring(url))
        text = keys.token("first")
        await house.read(text)
        keys.entries.clear()
        await house.read(text)
        monkeypatch.setattr(keyring, "AGAIN", 0.0)
        monkeypatch.setattr(keyring, "FRESH", 0.0)
        with pytest.raises(Unknown):
            await house.read(text)


async def test_keys_that_cannot_be_had_again_are_good_for_a_while(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(keys) as url:
        house = tokens(keys=Keyring(url))
        await house.read(keys.token("first"))
        keys.status = 500
        monkeypatch.setattr(keyring, "AGAIN", 0.0)
        monkeypatch.setattr(keyring, "FRESH", 0.0)
        await house.read(keys.token("first"))
        monkeypatch.setattr(keyring, "KEPT", 0.0)
        with pytest.raises(Unknown):
            await house.read(keys.token("first"))


async def test_while_the_keys_are_looked_for_nobody_waits_who_has_a_known_one(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(keys) as url:
        ring = Keyring(url)
        house = tokens(keys=ring)
        await house.read(keys.token("first"))
        monkeypatch.setattr(keyring, "AGAIN", 0.0)
        monkeypatch.setattr(keyring, "FRESH", 0.0)
        keys.add("second")
        done = {name: Event() for name in ("first", "second")}

        async def come(name: str) -> None:
            await house.read(keys.token(name))
            done[name].set()

        async with create_task_group() as tasks:
            await ring._turn.acquire()  # somebody looks, and has no answer yet
            for name in done:
                tasks.start_soon(come, name)
            with fail_after(5):
                await done["first"].wait()
            assert not done["second"].is_set()
            ring._turn.release()
        assert done["second"].is_set()


async def test_a_public_key_is_no_secret(keys: Keys) -> None:
    """Everybody can read it: who signs with its text by HS256 must not get in."""
    content = jwt.decode(token(), options={"verify_signature": False})
    header = {"alg": "HS256", "typ": "JWT", "kid": "first"}
    parts = [
        base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=")
        for each in (header, content)
    ]
    signing = b".".join(parts)
    algorithm = jwt.get_algorithm_by_name("HS256")
    signature = base64.urlsafe_b64encode(algorithm.sign(signing, keys.public("first")))
    forged = (signing + b"." + signature.rstrip(b"=")).decode()
    async with serving(keys) as url:
        for house in (tokens(keys=Keyring(url)), tokens(SECRET, keys=Keyring(url))):
            await house.read(keys.token("first"))
            with pytest.raises(Unknown):
                await house.read(forged)


@pytest.mark.parametrize(
    "changes", [{"use": "enc"}, {"alg": "RS512"}, {"alg": "HS256"}, {"kty": "oct", "k": "c2VjcmV0"}]
)
async def test_a_key_for_something_else_proves_nothing(changes: dict[str, Any]) -> None:
    keys = Keys()
    keys.add("first", **changes)
    async with serving(keys) as url:
        with pytest.raises(Unknown):
            await tokens(keys=Keyring(url)).read(keys.token("first"))


async def test_one_broken_key_does_not_spoil_the_others(keys: Keys) -> None:
    keys.entries.insert(0, {"kid": "broken", "kty": "RSA", "n": "?"})
    async with serving(keys) as url:
        await tokens(keys=Keyring(url)).read(keys.token("first"))


async def test_another_key_by_the_name_of_ours_opens_nothing(keys: Keys) -> None:
    stranger = Keys()
    stranger.add("first")
    async with serving(keys) as url:
        with pytest.raises(Unknown):
            await tokens(keys=Keyring(url)).read(stranger.token("first"))

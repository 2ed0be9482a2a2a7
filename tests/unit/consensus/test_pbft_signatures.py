"""Ed25519 as keys of a live swarm."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.pbft_swarm import Swarm
from swarm_common.errors import UsageError
from swarm_consensus.protocols.pbft.messages import Certificate
from swarm_consensus.protocols.signatures import SIZE, Ed25519, new_secret, public_of


def keys_of(n: int) -> list[Ed25519]:
    secrets = [bytes([agent + 1]) * SIZE for agent in range(n)]
    publics = {agent: public_of(secret) for agent, secret in enumerate(secrets)}
    return [Ed25519(secret, publics) for secret in secrets]


def test_the_first_vector_of_rfc_8032() -> None:
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    signature = bytes.fromhex(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd"
        "25bf5f0595bbe24655141438e7a100b"
    )
    assert public_of(secret) == public
    assert Ed25519(secret, {}).sign(b"") == signature
    assert Ed25519(new_secret(), {0: public}).verify(0, b"", signature)


def test_nobody_signs_for_another_and_nothing_else_than_was_signed() -> None:
    mine, other = keys_of(2)
    signature = mine.sign(b"what")
    assert other.verify(0, b"what", signature)
    assert not other.verify(1, b"what", signature)
    assert not other.verify(0, b"What", signature)
    assert not other.verify(0, b"what", signature[:-1])
    assert not other.verify(0, b"what", b"")
    assert not other.verify(7, b"what", signature)


def test_secrets_differ() -> None:
    assert len({new_secret() for _ in range(8)}) == 8
    assert len(new_secret()) == SIZE


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_key_of_another_size_is_an_error_that_says_so(size: int) -> None:
    with pytest.raises(UsageError, match=f"has {size} bytes; Ed25519 has 32"):
        public_of(bytes(size))
    with pytest.raises(UsageError, match="the secret has"):
        Ed25519(bytes(size), {})
    with pytest.raises(UsageError, match="the public key of agent 3 has"):
        Ed25519(bytes(32), {3: bytes(size)})


def test_replicas_agree_and_change_views_with_them() -> None:
    swarm = Swarm(4, keys=list(keys_of(4)), checkpoint=2)
    swarm.propose(0, "a")
    swarm.deliver()
    swarm.cut(0)
    swarm.propose(1, "b")
    swarm.tick(200)
    swarm.heal()
    swarm.propose(2, "c")
    swarm.tick(200)
    assert all(swarm.values(agent) == ["a", "b", "c"] for agent in range(4))
    certificate = swarm.nodes[1]._slots[2].certificate
    assert isinstance(certificate, Certificate)
    assert all(len(signature) == 2 * SIZE for signature in certificate.signatures)


def test_who_signs_nothing_does_not_load_the_library() -> None:
    code = "import sys, swarm_consensus.protocols.signatures; print('cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

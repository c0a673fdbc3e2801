"""The certificate authority of one cluster, and the kubeconfig files that carry what it signs.

Everything is made by the `openssl` program: the standard library cannot sign, and the tests need no more than this.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kubernetes.cluster.processes import run

_OPENSSL_TIMEOUT_S = 30.0
_DAYS = "30"


@dataclass(frozen=True, slots=True)
class Certificate:
    """Paths of a certificate in PEM and of its key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs for one cluster; what it makes lies in its directory."""

    directory: Path

    @classmethod
    def create(cls, directory: Path) -> Authority:
        directory.mkdir(parents=True, mode=0o700)
        authority = cls(directory)
        own = authority.own
        _openssl(_request(own, "/CN=gossipkv-test-authority"))
        run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(authority.token_key)], 30.0)
        return authority

    @property
    def own(self) -> Certificate:
        return Certificate(self.directory / "authority.crt", self.directory / "authority.key")

    @property
    def token_key(self) -> Path:
        """Signs the tokens of service accounts."""
        return self.directory / "tokens.key"

    def issued(self, name: str) -> Certificate:
        """Where the certificate of this name lies."""
        return Certificate(self.directory / f"{name}.crt", self.directory / f"{name}.key")

    def issue(self, name: str, user: str, group: str | None = None, hosts: Sequence[str] = ()) -> Certificate:
        """A certificate for a client (`user` in `group`, as Kubernetes reads them) or for a server at `hosts`."""
        issued = self.issued(name)
        subject = f"/O={group}/CN={user}" if group else f"/CN={user}"
        request = _request(issued, subject)
        request += ["-CA", str(self.own.certificate), "-CAkey", str(self.own.key)]
        request += ["-addext", "basicConstraints=critical,CA:FALSE"]
        request += ["-addext", "extendedKeyUsage=serverAuth,clientAuth"]
        if hosts:
            names = ",".join(f"{'IP' if host[0].isdigit() else 'DNS'}:{host}" for host in hosts)
            request += ["-addext", f"subjectAltName={names}"]
        _openssl(request)
        return issued

    def write_kubeconfig(self, path: Path, server_url: str, certificate: Certificate) -> Path:
        """With the keys inside, so that the file works wherever it is copied. JSON is YAML too."""
        user = {
            "client-certificate-data": _base64(certificate.certificate),
            "client-key-data": _base64(certificate.key),
        }
        cluster = {"server": server_url, "certificate-authority-data": _base64(self.own.certificate)}
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }
        path.write_text(json.dumps(kubeconfig, indent=2), encoding="utf-8")
        path.chmod(0o600)
        return path


def _request(target: Certificate, subject: str) -> list[str]:
    key_kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]
    files = ["-out", str(target.certificate), "-keyout", str(target.key)]
    return ["req", "-x509", *key_kind, "-days", _DAYS, "-subj", subject, *files]


def _openssl(arguments: list[str]) -> None:
    run(["openssl", *arguments], _OPENSSL_TIMEOUT_S)


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")

"""Writes an authority (ca.pem) and three server certificates of it (*.pem, *.key) into the folder that is given."""

import sys
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

folder = Path(sys.argv[1])
now = datetime.now(timezone.utc)
day = timedelta(days=1)


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def builder(subject, public_key, not_after):
    return (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name("lictor test authority"))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 3 * day)
        .not_valid_after(not_after)
    )


def write(file, certificate):
    (folder / file).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


ca_key = ec.generate_private_key(ec.SECP256R1())
ca = builder("lictor test authority", ca_key.public_key(), now + day).add_extension(
    x509.BasicConstraints(ca=True, path_length=None), critical=True
)
write("ca.pem", ca.sign(ca_key, hashes.SHA256()))

here = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
for file, names, not_after in [
    ("good", here, now + day),
    ("expired", here, now - day),
    ("elsewhere", [x509.DNSName("elsewhere.example")], now + day),
]:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = builder(file, key.public_key(), not_after).add_extension(
        x509.SubjectAlternativeName(names), critical=False
    )
    write(f"{file}.pem", certificate.sign(ca_key, hashes.SHA256()))
    (folder / f"{file}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )

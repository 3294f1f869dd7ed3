#!/bin/sh
# Makes the certificate requests that the tests read, with OpenSSL and, for one, strongSwan. Run it here by hand after a
# change; the results are checked in, so that the tests read the same bytes on every machine.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

key() { # NAME ARGUMENTS of openssl genpkey
    name=$1
    shift
    openssl genpkey -quiet -out "$work/$name.key" "$@" 2>/dev/null || openssl genpkey -out "$work/$name.key" "$@" 2>/dev/null
}
csr() { # NAME KEY SUBJECT ARGUMENTS of openssl req
    name=$1 key=$2 subject=$3
    shift 3
    openssl req -new -key "$work/$key.key" -subj "$subject" -outform DER -out "$name.der" "$@"
}

key p256 -algorithm EC -pkeyopt ec_paramgen_curve:P-256
key p384 -algorithm EC -pkeyopt ec_paramgen_curve:P-384
key p521 -algorithm EC -pkeyopt ec_paramgen_curve:P-521
key k256 -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1
key ed25519 -algorithm ED25519
key rsa2048 -algorithm RSA -pkeyopt rsa_keygen_bits:2048
key rsa1024 -algorithm RSA -pkeyopt rsa_keygen_bits:1024
key rsa-e3 -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:3
key rsa8192 -algorithm RSA -pkeyopt rsa_keygen_bits:8192

# Accepted for device gw-1 of tenant acme.
csr good-p256 p256 /O=acme/CN=gw-1
csr good-p384 p384 /CN=gw-1 -sha384
csr good-ed25519 ed25519 /CN=gw-1
csr good-rsa2048 rsa2048 /CN=gw-1
csr good-rsa-pss rsa2048 /CN=gw-1 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 -sigopt rsa_mgf1_md:sha256
csr good-no-subject p256 /
csr good-company p256 '/C=CH/O=Acme Works Ltd/CN=gw-1'
csr good-own-urn p256 /CN=gw-1 -addext subjectAltName=URI:urn:fleetward:acme:gw-1
csr good-own-dns p256 /CN=gw-1 -addext subjectAltName=DNS:gw-1
csr good-usages p256 /CN=gw-1 -addext keyUsage=critical,digitalSignature -addext extendedKeyUsage=clientAuth \
    -addext basicConstraints=critical,CA:FALSE -addext 1.2.3.4=ASN1:NULL

# Refused.
csr weak-p521 p521 /CN=gw-1
csr weak-k256 k256 /CN=gw-1
csr weak-rsa1024 rsa1024 /CN=gw-1
csr weak-rsa-e3 rsa-e3 /CN=gw-1
csr weak-rsa8192 rsa8192 /CN=gw-1
csr weak-sha1 p256 /CN=gw-1 -sha1
csr weak-rsa-sha1 rsa2048 /CN=gw-1 -sha1
csr ca-true p256 /CN=gw-1 -addext basicConstraints=CA:TRUE
csr ca-cert-sign p256 /CN=gw-1 -addext keyUsage=keyCertSign
csr critical-unknown p256 /CN=gw-1 -addext 1.2.3.4=critical,ASN1:NULL
csr other-device p256 /CN=gw-2
csr other-tenant p256 /O=globex/CN=gw-1
csr two-names p256 /CN=gw-1/CN=gw-2
csr no-common-name p256 /O=acme
csr san-other-device p256 /CN=gw-1 -addext subjectAltName=URI:urn:fleetward:acme:gw-2
csr san-other-tenant p256 /CN=gw-1 -addext subjectAltName=URI:urn:fleetward:globex:gw-1
csr san-other-dns p256 /CN=gw-1 -addext subjectAltName=DNS:gw-1,DNS:admin.example
csr san-ip p256 /CN=gw-1 -addext subjectAltName=IP:10.0.0.1
csr san-other-name p256 /CN=gw-1 -addext 'subjectAltName=otherName:1.3.6.1.4.1.311.20.2.3;UTF8:admin@example'

# As strongSwan writes it: PrintableString, a challengePassword, a subjectAltName.
openssl pkey -in "$work/p256.key" -outform DER -out "$work/p256.key.der"
pki --req --type priv --in "$work/p256.key.der" --dn "O=acme, CN=gw-1" --san gw-1 --password tls-unique > strongswan.der

#!/usr/bin/env python3
"""Restores an object from shelves and a key file, with no Strongroom at hand.

    tools/recover.py --key strongroom.key --shelf DIR... [--list | OBJECT[@VERSION] --to DIR]

Needs the standard library, `cryptography` 50 and `blake3`. It follows docs/format.md and its pages,
and believes only what a writer certified by the institution signed. Files come back as they stand
in the bag. It reads one segment at a time; a shard that is damaged anywhere is passed over.
"""

import argparse
import base64
import contextlib
import glob
import hashlib
import json
import os
import re
import struct
import sys
from collections import defaultdict

from blake3 import blake3
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import ed25519, mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

BLOCK, CHUNK, TAG, RECORD, KEYRING = 16384, 65536, 16, 2, 4


class Bad(Exception):
    """What was read is not what the format says, or was not signed by whom it should."""


# --- logs: docs/format/spool.md

CRC = range(256)
for _ in range(8):
    CRC = [crc >> 1 ^ (crc & 1) * 0x82F63B78 for crc in CRC]


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def frames(path):
    """(key, first, offset of the payload, length) of each whole head in a log. Payloads are not
    checked here: digests and signatures of the shard tell more than their CRC."""
    log_id = bytes.fromhex(re.search(r"-([0-9a-f]{32})\.log$", path)[1])
    size, at = os.path.getsize(path), 256
    with open(path, "rb") as log:
        while at + 96 <= size:
            log.seek(at)
            head = log.read(96)
            magic, version, length = struct.unpack_from("<4sHH", head)
            key, first, payload = head[24:64], *struct.unpack_from("<QI", head, 64)
            offset, check = *struct.unpack_from("<Q", head, 80), *struct.unpack_from("<I", head, 92)
            whole = (magic == b"\xf5SRf" and length == 96 and head[8:24] == log_id and offset == at
                     and at + 96 + payload <= size and crc32c(head[:92]) == check)
            if whole and version == 1:
                yield key, first, at + 96, payload
                at += 96 + payload + (-payload) % 8
            elif whole:
                raise Bad(f"{path}: a frame of version {version}, newer than 1")
            else:
                at += 8


def scan(shelves):
    """segment -> coding -> index -> the frames of each copy found."""
    found = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for shelf in shelves:
        with open(os.path.join(shelf, "strongroom-shelf.json"), encoding="utf-8") as file:
            identity = json.load(file)
        if identity["magic"] != "strongroom shelf" or identity["format"] > 1:
            raise Bad(f"{shelf} is no shelf that this script can read")
        here = defaultdict(list)
        for path in sorted(glob.glob(os.path.join(glob.escape(shelf), "logs", "*.log"))):
            if re.search(r"/[0-9a-f]{16}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{32}\.log$", path):
                for key, first, at, length in frames(path):
                    copies = here[key, os.path.basename(path)[:49]]  # of one writer
                    if first == 0:  # made anew, it stands beside the one before
                        copies.append([])
                    copies and copies[-1].append((path, at, length))
        for (key, _), copies in here.items():
            epoch, number, index = struct.unpack_from("<IIB", key, 16)
            found[key[:16]][epoch, number][index].extend(copies)
    return found


def read_shard(pieces):
    shard = bytearray()
    for path, at, length in pieces:
        with open(path, "rb") as log:
            log.seek(at)
            shard += log.read(length)
    return bytes(shard)  # where a frame is missing, digests will tell


# --- shards and certificates: docs/format/shard.md


class Reader:
    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def take(self, count):
        self.at += count
        if self.at > len(self.data):
            raise Bad("it is cut short")
        return self.data[self.at - count:self.at]

    def number(self, size):
        return int.from_bytes(self.take(size), "little")


def verify(public, signature, message, what):
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        raise Bad(f"the signature of {what} is wrong") from None


def certificate(data, institution, kind):
    """Checks a certificate; gives the writer's public key."""
    r = Reader(data)
    if r.take(8) != b"SR-CERTI" or r.number(2) != 1 or r.number(2) != 1:
        raise Bad("it has no certificate of version 1")
    if r.take(32)[16:] != institution:
        raise Bad("its certificate is another institution's")
    count, key = r.number(2), r.take(32)
    if not 1 <= count <= 128 or hashlib.sha256(key).digest()[:16] != institution:
        raise Bad("the first signing key is not the institution's")
    for generation in range(2, count + 1):
        following, signature = r.take(32), r.take(64)
        message = b"strongroom signing key 1" + institution + struct.pack("<I", generation)
        verify(key, signature, message + following, "a signing key")
        key = following
    writer = r.take(80)[32:64]
    kinds = r.take(r.number(1))
    fields = data[:r.at]
    verify(key, r.take(64), b"strongroom certificate 1" + fields, "the certificate")
    if r.at != len(data) or kind not in kinds:
        raise Bad("its certificate does not allow what it is")
    return writer


class Shard:
    """A shard, verified: any k of one coding restore the segment."""

    def __init__(self, data):
        r = Reader(data)
        if r.take(8) != b"SR-SHARD":
            raise Bad("it does not begin as a shard")
        version, self.suite, header_len = r.number(2), r.number(2), r.number(4)
        if version != 1 or self.suite != 1:
            raise Bad(f"version {version}, suite {self.suite} is newer than 1")
        self.institution, self.segment = r.take(16), r.take(16)
        self.coding, block = (r.number(4), r.number(4)), r.number(4)
        self.index, self.kind, self.k, self.n = r.take(4)
        self.generation, chunk = r.number(4), r.number(4)
        self.wrapped = r.take(r.number(2))
        if (block, chunk) != (BLOCK, CHUNK) or not 1 <= self.k <= self.n or self.index >= self.n:
            raise Bad("its header makes no sense")
        footer = Reader(data, max(header_len, len(data) - 48)).take(48)
        trailer_len, tree_len, blocks_len, tree_at = struct.unpack_from("<IIQQ", footer, 20)
        if footer[:8] != b"SR-TRAIL" or footer[44:] != blake3(footer[:44]).digest()[:4]:
            raise Bad("it does not end as a shard")
        ends = header_len + blocks_len, header_len + blocks_len + trailer_len
        if (tree_at, len(data)) != ends or tree_len != 32 * -(-blocks_len // BLOCK):
            raise Bad("its lengths do not agree")
        self.blocks = data[header_len:tree_at]
        r = Reader(data, tree_at + tree_len)
        self.plain, self.cipher, claimed = r.number(8), r.number(8), r.number(8)
        roots = [r.take(32) for _ in range(r.number(2))]
        cert = r.take(r.number(4))
        claims, origin_at = data[tree_at + tree_len:r.at], r.at
        r.take(r.number(4))  # signed here as well; who coded first is not needed to restore
        origin = data[origin_at:r.at]
        self.common = data[:60] + b"\0" + data[61:header_len]
        writer = certificate(cert, self.institution, self.kind)
        message = b"strongroom shard 1" + self.common + claims + origin
        verify(writer, r.take(64), message, "the shard")
        stripes, rest = divmod(self.cipher, self.k * BLOCK)
        expected = stripes * BLOCK + -(-rest // self.k)
        sealed = self.plain + TAG * max(1, -(-self.plain // CHUNK))
        if self.cipher != sealed or not claimed == blocks_len == expected:
            raise Bad("its lengths are not those that were signed")
        if len(roots) != (1 if self.k == 1 else self.n):
            raise Bad("it has another number of roots")
        if blake3(self.blocks).digest() != roots[0 if self.k == 1 else self.index]:
            raise Bad("its blocks are damaged")
        self.signed = (self.common, claims, origin)


# --- the code: GF(2^8), 0x11d, Lagrange

EXP, LOG = [1], [0] * 256
for power in range(509):
    LOG[EXP[-1]] = power % 255
    EXP.append(EXP[-1] << 1 ^ (EXP[-1] >> 7) * 0x11D)


def times(a, b):
    return EXP[LOG[a] + LOG[b]] if a and b else 0


def decode(shards):
    """The ciphertext, from k shards with different indices."""
    k, length = shards[0].k, shards[0].cipher
    if k == 1:
        return shards[0].blocks[:length]
    points = [s.index for s in shards]
    lanes = {s.index: s.blocks for s in shards}
    for x in set(range(k)) - set(points):
        total = 0
        for j, point in enumerate(points):
            factor = 1
            for other in set(points) - {point}:
                factor = times(factor, times(x ^ other, EXP[255 - LOG[point ^ other]]))
            table = bytes(times(factor, byte) for byte in range(256))
            total ^= int.from_bytes(shards[j].blocks.translate(table), "little")
        lanes[x] = total.to_bytes(len(shards[0].blocks), "little")
    ats = range(0, len(shards[0].blocks), BLOCK)
    return b"".join(lanes[j][at:at + BLOCK] for at in ats for j in range(k))[:length]


# --- keys and segments


class Archive:
    def __init__(self, key_path, shelves):
        with open(key_path, encoding="utf-8") as file:
            keys = json.load(file)
        if keys["magic"] != "strongroom keys" or keys["format"] > 1:
            raise Bad(f"{key_path} is no key file that this script can read")
        self.seeds, self.found, self.last = {}, scan(shelves), (None, None)
        for key in keys["institutions"]:
            self.learn(key)
        for segment in self.of_kind(KEYRING):
            with contextlib.suppress(Bad):  # it may be sealed to a key that is not at hand
                self.learn(json.loads(self.segment(segment)[0])["key"])

    def learn(self, key):
        self.seeds = {(bytes.fromhex(key["id"]), seed["generation"]): bytes.fromhex(seed["seed"])
                      for seed in key["seeds"]} | self.seeds

    def of_kind(self, kind):
        """The segments that are of a kind by the header of a shard; others need not be read."""
        for segment, codings in self.found.items():
            copies = (c for indices in codings.values() for found in indices.values() for c in found)
            if any(read_shard(copy[:1])[61:62] == bytes([kind]) for copy in copies):
                yield segment

    def open(self, shard, ciphertext):
        seed = self.seeds.get((shard.institution, shard.generation))
        if seed is None:
            raise Bad("the key file has no key for it")
        secret = HKDF(hashes.SHA256(), 32, None, b"strongroom seed to sealing key 1").derive(seed)
        expanded = hashlib.shake_256(secret).digest(96)
        private = hpke.MLKEM768X25519PrivateKey(
            mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64]),
            x25519.X25519PrivateKey.from_private_bytes(expanded[64:]))
        suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
        info = (b"strongroom segment key 1" + struct.pack("<HB", shard.suite, shard.kind)
                + shard.institution + struct.pack("<I", shard.generation) + shard.segment)
        gcm = AESGCM(suite.decrypt(shard.wrapped, private, info=info))
        step, end = CHUNK + TAG, len(ciphertext)
        nonces = {at: bytes(7) + struct.pack(">IB", at // step, at + step >= end)
                  for at in range(0, end, step)}
        return b"".join(gcm.decrypt(nonces[at], ciphertext[at:at + step], None) for at in nonces)

    def segment(self, segment):
        """The plaintext of a segment, and whose it is."""
        if self.last[0] == segment:
            return self.last[1]
        why = []
        for coding, indices in sorted(self.found.get(segment, {}).items(), reverse=True):
            good = defaultdict(dict)  # by what was signed, so that only equals are joined
            for index, copies in sorted(indices.items()):
                for pieces in copies:
                    try:
                        shard = Shard(read_shard(pieces))
                        if (shard.segment, shard.coding, shard.index) != (segment, coding, index):
                            raise Bad("it stands under another's key")
                        good[shard.signed][index] = shard
                        if len(good[shard.signed]) == shard.k:
                            plain = self.open(shard, decode(list(good[shard.signed].values())))
                            self.last = segment, (plain, shard)
                            return plain, shard
                    except (Bad, InvalidTag, IndexError, struct.error, OSError) as e:
                        why.append(f"shard {index}: {e}")
        raise Bad(f"segment {segment.hex()}: too few good shards ({'; '.join(why) or 'none'})")


# --- records: docs/format.md


def get_bytes(fields, name):
    return fields[name].encode() if name in fields else base64.b64decode(fields[name + "_base64"])


def heads(archive):
    """(institution, name, number) -> the head of the highest whole revision, and its files."""
    best = {}
    for segment in archive.of_kind(RECORD):
        try:
            plain, shard = archive.segment(segment)
            head = json.loads(plain.split(b"\n")[0])
            if shard.kind != RECORD or head["strongroom"] != "version record head":
                continue
            if head["format"] > 1 or bytes.fromhex(head["institution"]) != shard.institution:
                raise Bad("its head is of a newer format, or of another institution")
            revision = tuple(int(number) for number in head["revision"])
            key = head["institution_name"], head["object_name"], head["number"]
            if key not in best or revision > best[key][0]:
                best[key] = revision, files_of(archive, head, shard)
        except (Bad, KeyError, ValueError) as e:
            print(f"passed over segment {segment.hex()}: {e}", file=sys.stderr)
    return best


def files_of(archive, head, shard):
    """The files of a version, links last, so that nothing is written through one."""
    files = {}
    for segment, digest in head["parts"]:
        plain, part = archive.segment(bytes.fromhex(segment))
        if hashlib.sha256(plain).hexdigest() != digest or part.institution != shard.institution:
            raise Bad(f"part {segment} of the record is another than its head names")
        for line in map(json.loads, plain.splitlines()[1:]):
            if line["line"] == "file":
                files[line["id"]] = line
            elif line["line"] == "extents":
                files[line["id"]]["extents"] += line["extents"]
    if len(files) != int(head["files"]):
        raise Bad(f"{len(files)} files, its head names {head['files']}")
    return sorted(files.values(), key=lambda f: (f["kind"] == "symlink", int(f["number"])))


def restore(archive, files, to):
    for file in files:
        path = get_bytes(file, "path")
        if path.startswith(b"/") or b".." in path.split(b"/") or b"\0" in path:
            raise Bad(f"the path {path!r} leads out of the target")
        target = os.path.join(os.fsencode(to), path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if file["kind"] == "symlink":
            os.symlink(get_bytes(file, "target"), target)
        elif file["kind"] == "folder":
            os.makedirs(target, exist_ok=True)
        else:
            sha256 = hashlib.sha256()
            with open(target, "xb") as out:
                for segment, offset, length in file["extents"]:
                    plain, at = archive.segment(bytes.fromhex(segment))[0], int(offset)
                    sha256.update(plain[at:at + int(length)])
                    out.write(plain[at:at + int(length)])
            if sha256.hexdigest() != file["sha256"]:
                raise Bad(f"{path!r} is not what was recorded")
        if file["kind"] != "symlink":
            os.chmod(target, file["mode"])
        os.utime(target, ns=(int(file["mtime_ns"]),) * 2, follow_symlinks=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("object", nargs="?", help="institution/name, with @NUMBER for a version")
    parser.add_argument("--key", required=True)
    parser.add_argument("--shelf", required=True, nargs="+", action="extend")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--to", help="a new folder")
    args = parser.parse_args()
    args.list or args.object and args.to or parser.error("give --list, or OBJECT and --to DIR")
    archive = Archive(args.key, args.shelf)
    found = heads(archive)
    for (institution, name, number), (*_, files) in sorted(found.items()) if args.list else ():
        print(f"{institution}/{name}@{number}\t{len(files)} files")
    if args.object and args.to:
        name, _, number = args.object.partition("@")
        fits = [key for key in found if "/".join(key[:2]) == name and number in ("", str(key[2]))]
        if not fits:
            raise Bad(f"no version of {args.object} is on these shelves")
        files = found[max(fits)][1]
        os.mkdir(args.to)
        restore(archive, files, args.to)
        print(f"restored {name}@{max(fits)[2]}: {len(files)} files, each equal to its SHA-256")


if __name__ == "__main__":
    try:
        main()
    except (Bad, OSError) as error:
        sys.exit(f"recover.py: {error}")

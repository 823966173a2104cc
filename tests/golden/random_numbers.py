"""fusegrid's random numbers: src/core/philox.h."""


def philox(key, stream, counter):
    mask = 0xFFFFFFFF
    c = [counter & mask, counter >> 32, stream & mask, stream >> 32]
    k0, k1 = key & mask, key >> 32
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k0, p1 & mask, (p0 >> 32) ^ c[3] ^ k1, p0 & mask]
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return c


def derive_key(seed, purpose):
    fnv = 0xCBF29CE484222325
    for byte in purpose.encode():
        fnv = ((fnv ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    words = philox(seed, fnv, 0)
    return words[1] << 32 | words[0]


def unit_number(key, stream, e):
    """philox.h: uniform()."""
    return (philox(key, stream, e // 4)[e % 4] >> 8) * 2.0**-24

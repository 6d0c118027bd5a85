//! Which addresses anybody on the internet could reach, too.
//!
//! An endpoint is named by whoever may subscribe, and the broker stands inside the network: without this, a subscription would be a way
//! to whatever listens there. Invariant: what is not known to be public is not.
//! Source: IANA IPv4 and IPv6 Special-Purpose Address Registries; RFC 6598 (shared address space), RFC 6052 and RFC 3056 (addresses
//! within addresses).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// True if the address is one of the public internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        // This host and network, private use, loopback.
        (0 | 10 | 127, ..)
            // Shared by the customers of a carrier.
            | (100, 64..=127, _)
            // Link-local, among it what clouds tell their machines.
            | (169, 254, _)
            // Private use.
            | (172, 16..=31, _)
            | (192, 168, _)
            // Assigned to protocols, documentation, 6to4 relays.
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            // Benchmarks, documentation.
            | (198, 18..=19, _)
            | (198, 51, 100)
            | (203, 0, 113)
            // Multicast, reserved, broadcast.
            | (224.., ..)
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(within) = address.to_ipv4_mapped() {
        return is_public_v4(within);
    }
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match (a, b) {
        // Translated to an IPv4 address on the way.
        (0x64, 0xff9b) if (c, d, e, f) == (0, 0, 0, 0) => is_public_v4(v4(g, h)),
        // 6to4 leads to one as well.
        (0x2002, _) => is_public_v4(v4(b, c)),
        // Teredo and other protocols, benchmarks, ORCHID; documentation.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x3fff, 0..=0xfff) => false,
        // Global unicast. What is outside (loopback, link-local, unique local, multicast and so on) is not.
        (0x2000..=0x3fff, _) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_not_of_the_public_internet_is_refused_in_every_spelling() {
        for address in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn addresses_beside_them_are_public() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "126.1.1.1",
            "128.0.0.1",
            "169.253.1.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.1.1",
            "198.17.1.1",
            "198.20.1.1",
            "223.255.255.254",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:101:101::1",
            "2001:4860:4860::8888",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }
}

//! Which addresses belong to the public internet. A webhook goes where a user says, so without this check
//! anyone who may create a receiver could reach whatever this machine can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether a webhook may go to this address when private ones are refused: not private, loopback, link-local
/// (where clouds keep credentials), shared, reserved, for documentation, multicast or broadcast; and for an
/// IPv6 address that stands for an IPv4 one (mapped, compatible, NAT64, 6to4), the same of that one.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => embedded_v4(v6).map_or_else(|| is_public_v6(v6), is_public_v4),
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    let shared = a == 100 && (64..128).contains(&b); // RFC 6598
    let protocols = (a, b, c) == (192, 0, 0); // RFC 6890
    let relay = (a, b, c) == (192, 88, 99); // RFC 7526
    let benchmark = a == 198 && (b & 0xfe) == 18; // RFC 2544
    let reserved = a >= 240; // RFC 1112, and broadcast
    !(a == 0
        || v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_documentation()
        || shared
        || protocols
        || relay
        || benchmark
        || reserved)
}

/// Only what IANA has given out for unicast (2000::/3), less what has another meaning within it.
fn is_public_v6(v6: Ipv6Addr) -> bool {
    let [a, b, ..] = v6.segments();
    let unicast = (a & 0xe000) == 0x2000;
    let protocols = a == 0x2001 && b < 0x0200; // RFC 2928, Teredo among them
    let documentation = (a == 0x2001 && b == 0x0db8) || (a & 0xfff0) == 0x3ff0; // RFC 3849, RFC 9637
    unicast && !protocols && !documentation
}

/// The IPv4 address that a packet to this IPv6 address ends at.
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(v4(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)), // RFC 6052
        [0x2002, high, low, ..] => Some(v4(high, low)),               // RFC 3056
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn public_and_not() {
        for public in
            ["1.1.1.1", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "198.20.0.1", "192.0.1.1"]
                .into_iter()
                .chain(["2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1"])
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for not in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(not.parse().unwrap()), "{not}");
        }
    }
}

//! PROXY headers beside the crate `ppp`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use dunlin_transport::proxy_header::{self, ProxyHeader};
use ppp::v2::{Builder, Command, Protocol, Type, Version};
use ppp::{HeaderResult, PartialResult, v1, v2};
use proptest::collection::vec;
use proptest::prelude::*;

fn address() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        any::<(u32, u16)>().prop_map(|(ip, port)| (Ipv4Addr::from(ip), port).into()),
        any::<(u128, u16)>().prop_map(|(ip, port)| (Ipv6Addr::from(ip), port).into()),
    ]
}

/// Two addresses of the same kind.
fn addresses() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    (address(), address()).prop_filter("of the same kind", |(a, b)| a.is_ipv4() == b.is_ipv4())
}

/// What a header gives when MQTT follows; shorter pieces of it want more.
fn parse(header: &[u8]) -> ProxyHeader {
    for len in 0..header.len() {
        assert_eq!(proxy_header::parse(&header[..len]), Ok(None), "{len} bytes");
    }
    let input = [header, b"\x10\x0c"].concat();
    let (parsed, len) = proxy_header::parse(&input).expect("valid").expect("whole");
    assert_eq!(len, header.len());
    parsed
}

proptest! {
    #[test]
    fn lines_of_ppp_are_read((source, destination) in addresses()) {
        let line = v1::Addresses::from((source, destination)).to_string();
        let parsed = parse(line.as_bytes());
        prop_assert_eq!(parsed.source(), Some(source));
        prop_assert_eq!(parsed.destination(), Some(destination));
    }

    #[test]
    fn headers_of_ppp_are_read(
        (source, destination) in addresses(),
        authority in "[a-zåß-]{1,40}",
        name in "[a-z0-9 ]{1,64}",
        rest in vec((0xe0_u8..0xf0, vec(any::<u8>(), 0..40)), 0..5),
    ) {
        let mut ssl = vec![0x03, 0, 0, 0, 0, 0x22, 0, name.len() as u8];
        ssl.extend(name.as_bytes());
        let mut builder = Builder::with_addresses(
            Version::Two | Command::Proxy,
            Protocol::Stream,
            (source, destination),
        )
        .write_tlv(Type::Authority, authority.as_bytes())
        .and_then(|builder| builder.write_tlv(Type::SSL, &ssl))
        .expect("room");
        for (kind, value) in &rest {
            builder = builder.write_tlv(*kind, value).expect("room");
        }
        let parsed = parse(&builder.build().expect("room"));
        prop_assert_eq!(parsed.source(), Some(source));
        prop_assert_eq!(parsed.destination(), Some(destination));
        prop_assert_eq!(parsed.authority(), Some(authority.as_str()));
        let tls = parsed.tls().and_then(|tls| tls.verified_common_name());
        prop_assert_eq!(tls, Some(name.as_str()));
    }

    /// Ours is the stricter one: what it takes ppp takes, and of the same length.
    #[test]
    fn what_is_accepted_ppp_accepts(
        command in prop_oneof![3 => Just(0x21_u8), 1 => Just(0x20), 1 => any::<u8>()],
        family in prop_oneof![
            3 => Just(0x11_u8), 3 => Just(0x21), 1 => Just(0x31), 1 => Just(0), 1 => any::<u8>(),
        ],
        body in vec(prop_oneof![3 => Just(0_u8), 1 => any::<u8>()], 0..300),
    ) {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        header.extend([command, family]);
        header.extend((body.len() as u16).to_be_bytes());
        header.extend(&body);
        let theirs = HeaderResult::parse(&header);
        prop_assert!(theirs.is_complete(), "all of it is there");
        if let Ok(parsed) = proxy_header::parse(&header) {
            let (parsed, len) = parsed.expect("all of it is there");
            prop_assert_eq!(len, header.len());
            // A LOCAL header is skipped whatever is in it.
            let HeaderResult::V2(Ok(theirs)) = theirs else {
                prop_assert!(parsed.is_local());
                return Ok(());
            };
            if parsed.is_local() {
                return Ok(());
            }
            let source = match theirs.addresses {
                v2::Addresses::IPv4(a) => Some((a.source_address, a.source_port).into()),
                v2::Addresses::IPv6(a) => Some((a.source_address, a.source_port).into()),
                _ => None,
            };
            prop_assert_eq!(parsed.source(), source);
            prop_assert!(theirs.tlvs().all(|field| field.is_ok()));
        }
    }
}

//! Headers of both versions, each cut at every byte.

use super::*;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What the input gives; what is sure of its beginning stays so with the rest.
fn parse(input: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
    let whole = super::parse(input);
    let first = (0..input.len()).map(|len| super::parse(&input[..len])).find(|r| *r != Ok(None));
    if let Some(first) = first {
        assert_eq!(first, whole, "the beginning says something else");
    }
    whole
}

/// The header, behind which MQTT follows.
fn accepted(header: &[u8]) -> ProxyHeader {
    let input = [header, b"\x10\x00"].concat();
    let (parsed, len) = parse(&input).expect("valid").expect("whole");
    assert_eq!(len, header.len());
    parsed
}

fn check_line(line: &str, source: &str, destination: &str) {
    let header = accepted(format!("{line}\r\n").as_bytes());
    assert_eq!(header.source(), Some(source.parse().expect("an address")), "{line}");
    assert_eq!(header.destination(), Some(destination.parse().expect("an address")), "{line}");
}

#[test]
fn a_header_is_known_by_how_it_begins() {
    let whole = [(6, &b"PROXY TCP4 192.0.2.7"[..]), (12, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c")];
    for (prefix, header) in whole {
        for len in 0..header.len() {
            let expected = (len >= prefix).then_some(true);
            assert_eq!(begins(&header[..len]), expected, "{len} of {header:?}");
            if len < prefix {
                let other = [&header[..len], b"x"].concat();
                assert_eq!(begins(&other), Some(false), "{other:?}");
            }
        }
        assert!(prefix <= BEGINNING_LEN);
    }
    for other in [&b"\x10\x0c\0\x04MQTT"[..], b"\x16\x03\x01", b"GET /mqtt", b"POST", b"PRI * H"] {
        assert_eq!(begins(other), Some(false), "{other:?}");
    }
}

#[test]
fn lines_of_version_1() {
    check_line("PROXY TCP4 192.0.2.7 198.51.100.1 0 65535", "192.0.2.7:0", "198.51.100.1:65535");
    check_line("PROXY TCP6 2001:db8::1 ::1 5 1883", "[2001:db8::1]:5", "[::1]:1883");
    let longest = "PROXY TCP6 ffff:f:f:f:f:f:f:ffff ffff:f:f:f:f:f:f:fff0 65535 65535";
    check_line(longest, "[ffff:f:f:f:f:f:f:ffff]:65535", "[ffff:f:f:f:f:f:f:fff0]:65535");
    for line in ["PROXY UNKNOWN", "PROXY UNKNOWN ", "PROXY UNKNOWN what ever 1 2 3"] {
        let header = accepted(format!("{line}\r\n").as_bytes());
        assert_eq!(header, ProxyHeader::default(), "{line}");
    }
    let widest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(107 - 16));
    assert_eq!((widest.len(), accepted(widest.as_bytes())), (107, ProxyHeader::default()));
}

#[test]
fn lines_that_are_refused() {
    for line in [
        "PROXY ",
        "PROXY TCP4",
        "PROXY tcp4 192.0.2.7 198.51.100.1 1 2",
        "PROXY UDP4 192.0.2.7 198.51.100.1 1 2",
        "PROXY UNKNOWNS",
        "PROXY  TCP4 192.0.2.7 198.51.100.1 1 2",
        "PROXY TCP4  192.0.2.7 198.51.100.1 1 2",
        "PROXY TCP4 192.0.2.7 198.51.100.1 1 2 ",
        "PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3",
        "PROXY TCP4 192.0.2.7 198.51.100.1 1",
        "PROXY TCP4 192.0.2.7 198.51.100.1 +1 2",
        "PROXY TCP4 192.0.2.7 198.51.100.1 01 2",
        "PROXY TCP4 192.0.2.7 198.51.100.1 1 65536",
        "PROXY TCP4 192.0.2.7 198.51.100.1  2",
        "PROXY TCP4 192.0.2.007 198.51.100.1 1 2",
        "PROXY TCP4 192.0.2 198.51.100.1 1 2",
        "PROXY TCP4 ::1 ::1 1 2",
        "PROXY TCP6 192.0.2.7 198.51.100.1 1 2",
        "PROXY TCP6 [::1] ::1 1 2",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2",
        "PROXY TCP4\t192.0.2.7 198.51.100.1 1 2",
        "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r",
        "PROXY TCP4 192.0.2.7 198.51.100.1 1 \u{661}",
    ] {
        let input = format!("{line}\r\n");
        assert_eq!(parse(input.as_bytes()), Err(ProxyHeaderError::Line), "{line}");
    }
    for len in [108, 109, 1070] {
        let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(len - 16));
        assert_eq!(parse(long.as_bytes()), Err(ProxyHeaderError::LongLine), "{len}");
    }
    for input in ["GET / HTTP/1.1\r\n", "PROX\r\n", "PUT", "\x10\x0c\0\x04MQTT", "\r\n\r\n\r"] {
        assert_eq!(parse(input.as_bytes()), Err(ProxyHeaderError::Missing), "{input:?}");
    }
    for input in ["", "P", "PROXY", "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r", "\r\n\r\n\0\r\nQ"] {
        assert_eq!(parse(input.as_bytes()), Ok(None), "{input:?}");
    }
}

const IPV4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0xc3, 0x50, 0x07, 0x5b];

/// A header of version 2.
fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).expect("short").to_be_bytes();
    [SIGNATURE, &[command, family], &len, body].concat()
}

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len()).expect("short").to_be_bytes();
    [&[kind], &len[..], value].concat()
}

/// A header over TCP and IPv4 with these fields.
fn with_fields(fields: &[Vec<u8>]) -> Vec<u8> {
    binary(0x21, 0x11, &[&IPV4, &fields.concat()[..]].concat())
}

fn check_refused(header: &[u8], error: ProxyHeaderError) {
    assert_eq!(parse(header), Err(error), "{header:02x?}");
    // Whatever follows.
    assert_eq!(parse(&[header, &[0; 300]].concat()), Err(error), "{header:02x?}");
}

#[test]
fn addresses_of_version_2() {
    let header = accepted(&binary(0x21, 0x11, &IPV4));
    assert_eq!(header.source(), Some("192.0.2.7:50000".parse().expect("valid")));
    assert_eq!(header.destination(), Some("198.51.100.1:1883".parse().expect("valid")));
    assert!(!header.is_local() && header.tls().is_none() && header.authority().is_none());
    let mut body = [0; 36];
    body[0..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    body[15] = 1;
    body[31] = 2;
    body[32..].copy_from_slice(&[0, 5, 0, 6]);
    let header = accepted(&binary(0x21, 0x21, &body));
    assert_eq!(header.source(), Some("[2001:db8::1]:5".parse().expect("valid")));
    assert_eq!(header.destination(), Some("[::2]:6".parse().expect("valid")));
    // Unix sockets, and a proxy that doesn't know.
    assert_eq!(accepted(&binary(0x21, 0x31, &[7; 216])).source(), None);
    assert_eq!(accepted(&binary(0x21, 0x00, b"")), ProxyHeader::default());
}

#[test]
fn a_proxy_that_speaks_for_itself_is_not_asked_more() {
    for (family, body) in [(0x00, &b""[..]), (0x11, &IPV4), (0x99, b"\x02\xff\xff"), (0x12, b"x")] {
        let header = accepted(&binary(0x20, family, body));
        assert!(header.is_local());
        assert_eq!((header.source(), header.tls()), (None, None));
    }
}

#[test]
fn odd_lengths_of_version_2_are_refused() {
    for command in [0x22, 0x2f, 0x11, 0x31, 0x00] {
        check_refused(&binary(command, 0x11, &IPV4), ProxyHeaderError::Command(command));
    }
    for family in [0x01, 0x10, 0x12, 0x13, 0x22, 0x32, 0x41, 0xff] {
        check_refused(&binary(0x21, family, &[0; 216]), ProxyHeaderError::Family(family));
    }
    for (family, len) in [(0x11, 12), (0x21, 36), (0x31, 216)] {
        for len in [0, 1, len - 1] {
            check_refused(&binary(0x21, family, &vec![0; len]), ProxyHeaderError::Short);
        }
    }
    let filler = |len: usize| with_fields(&[field(0x04, &vec![0; len - IPV4.len() - 3])]);
    let most = usize::from(V2_LEN_MAX);
    accepted(&filler(most));
    for len in [most + 1, 10 * most] {
        check_refused(&filler(len)[..16], ProxyHeaderError::Long(len as u16));
    }
    for tail in [&[0x04][..], &[0x04, 0], &[0x04, 0, 1], &[0x04, 0xff, 0xff, 1, 2]] {
        check_refused(&with_fields(&[tail.to_vec()]), ProxyHeaderError::FieldLength(0x04));
    }
    accepted(&with_fields(&[field(0x05, &[9; 128]), field(0xe0, b"custom"), field(0x04, b"")]));
    check_refused(&with_fields(&[field(0x05, &[9; 129])]), ProxyHeaderError::FieldLength(0x05));
}

#[test]
fn names_are_texts() {
    let header = accepted(&with_fields(&[field(0x02, "bücher.example".as_bytes())]));
    assert_eq!(header.authority(), Some("bücher.example"));
    for text in [&b""[..], b"a\0", b"a\nb", b"\x7f", b"\xc2\x85", b"\xff", b"a\xc3"] {
        check_refused(&with_fields(&[field(0x02, text)]), ProxyHeaderError::Text(0x02));
        let tls = [&[0x05, 0, 0, 0, 0][..], &field(0x22, text)].concat();
        check_refused(&with_fields(&[field(0x20, &tls)]), ProxyHeaderError::Text(0x22));
    }
    let twice = [field(0x02, b"a"), field(0x02, b"a")];
    check_refused(&with_fields(&twice), ProxyHeaderError::Repeated(0x02));
}

fn tls(client: u8, verify: u32, fields: &[Vec<u8>]) -> Vec<u8> {
    field(0x20, &[&[client], &verify.to_be_bytes()[..], &fields.concat()].concat())
}

#[test]
fn a_common_name_counts_if_its_certificate_was_shown_and_verified() {
    let fields = [field(0x21, b"TLSv1.3"), field(0x23, b"suite"), field(0x22, b"device-7")];
    let told = |client, verify| {
        let header = accepted(&with_fields(&[tls(client, verify, &fields)]));
        let tls = header.tls().expect("TLS");
        assert_eq!(tls.version(), Some("TLSv1.3"));
        (tls.certificate(), tls.verified_common_name().map(str::to_owned))
    };
    let name = Some("device-7".to_owned());
    assert_eq!(told(0x03, 0), (ClientCertificate::Verified, name.clone()));
    assert_eq!(told(0x05, 0), (ClientCertificate::Verified, name));
    assert_eq!(told(0x03, 18), (ClientCertificate::Unverified, None));
    // HAProxy says 0 also where no certificate was shown.
    assert_eq!(told(0x01, 0), (ClientCertificate::Absent, None));
    let none = accepted(&with_fields(&[tls(0x01, 0, &[])]));
    assert_eq!(
        none.tls().map(|tls| (tls.version(), tls.verified_common_name())),
        Some((None, None))
    );
    let plain = accepted(&with_fields(&[tls(0x06, 0, &fields)]));
    assert_eq!(plain.tls(), None, "no TLS, whatever else is said");
}

#[test]
fn odd_lengths_inside_the_tls_field_are_refused() {
    for len in 0..5 {
        let short = with_fields(&[field(0x20, &vec![1; len])]);
        check_refused(&short, ProxyHeaderError::FieldLength(0x20));
    }
    for tail in [&[0x22][..], &[0x22, 0], &[0x22, 0, 9, b'x']] {
        let odd = with_fields(&[tls(0x03, 0, &[tail.to_vec()])]);
        check_refused(&odd, ProxyHeaderError::FieldLength(0x22));
    }
    let name = || field(0x22, b"a");
    check_refused(&with_fields(&[tls(3, 0, &[name(), name()])]), ProxyHeaderError::Repeated(0x22));
    let twice = [tls(3, 0, &[name()]), tls(3, 0, &[name()])];
    check_refused(&with_fields(&twice), ProxyHeaderError::Repeated(0x20));
    let none_twice = [tls(0, 0, &[]), tls(3, 0, &[name()])];
    check_refused(&with_fields(&none_twice), ProxyHeaderError::Repeated(0x20));
}

#[test]
fn checksums_are_checked() {
    let make = |sum: u32, before: &[u8]| {
        with_fields(&[before.to_vec(), field(0x03, &sum.to_be_bytes()), field(0x02, b"a.test")])
    };
    for before in [&b""[..], &field(0x04, b"xyz")] {
        let sum = crc32c(&make(0, before));
        assert_eq!(accepted(&make(sum, before)).authority(), Some("a.test"));
        for bit in 0..32 {
            check_refused(&make(sum ^ (1 << bit), before), ProxyHeaderError::Checksum);
        }
    }
    for len in [0, 3, 5] {
        let odd = with_fields(&[field(0x03, &vec![0; len])]);
        check_refused(&odd, ProxyHeaderError::FieldLength(0x03));
    }
    assert_eq!(crc32c(b"123456789"), 0xe306_9283, "the check value of CRC-32C");
}

/// By polynomial division of the bits in the order in which they are on paper.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut register = u32::MAX;
    for bit in bytes.iter().flat_map(|byte| (0..8).map(move |n| u32::from(byte >> n & 1))) {
        let carry = (register >> 31) ^ bit;
        register = (register << 1) ^ if carry == 1 { 0x1edc_6f41 } else { 0 };
    }
    !register.reverse_bits()
}

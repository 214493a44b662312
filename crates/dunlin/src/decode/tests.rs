//! Hex digits, raw bytes and captures, down to the lines that are printed.

use super::*;

/// PUBLISH q0 "a" with "hi", in MQTT 3.1.1.
const PUBLISH: &[u8] = &[0x30, 0x05, 0, 1, b'a', b'h', b'i'];
/// CONNECT 3.1.1, clean, Keep Alive 60, Client Identifier "x".
const CONNECT: &[u8] = &[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 1, b'x'];
const CONNACK: &[u8] = &[0x20, 2, 0, 0];

#[test]
fn hex_digits_are_read_as_people_copy_them() {
    let bytes = [0x30, 0x05, 0xAB];
    for text in
        ["3005ab", "30 05 AB", "30:05:ab", "0x30, 0x5, 0xab", "30-05\n\tab\n", r"\x30\x05\xAB"]
    {
        assert_eq!(hex::parse(text).unwrap(), bytes, "{text}");
    }
    assert_eq!(hex::parse(" "), Ok(Vec::new()));
    assert_eq!(hex::parse("30 0g"), Err("'g' in \"0g\" is no hex digit".to_owned()));
    for odd in ["3", "c0 0", "0x300"] {
        let error = hex::parse(odd).unwrap_err();
        assert!(error.ends_with("has an odd number of hex digits"), "{error}");
    }
    assert_eq!(hex::parse("300"), Err("\"300\" has an odd number of hex digits".to_owned()));
}

#[test]
fn the_beginning_of_a_payload_is_shown() {
    assert_eq!(excerpt(b"a \"b\"\n\x1b[1m"), r#""a \"b\"\n\u{1b}[1m""#);
    assert_eq!(excerpt(&[0xFF, b'a']), "ff61");
    assert_eq!(excerpt(&[b'x'; 65]), format!("\"{}\"...", "x".repeat(64)));
    assert_eq!(excerpt("ä".repeat(32).as_bytes()), format!("{:?}", "ä".repeat(32)));
    let cut = format!("x{}", "ä".repeat(32));
    assert_eq!(excerpt(cut.as_bytes()), format!("\"x{}\"...", "ä".repeat(31)));
    let no_text = [b"x".as_slice(), &[0xC3]].concat();
    assert_eq!(excerpt(&no_text), "78c3");
}

#[test]
fn a_connect_tells_the_version_of_what_follows() {
    let decoded = decode(&[CONNECT, PUBLISH].concat(), ProtocolVersion::V5);
    assert_eq!((decoded.packets.len(), &decoded.end), (2, &End::Complete));
    assert_eq!(decoded.version, ProtocolVersion::V3_1_1);
    assert_eq!((decoded.packets[1].start, decoded.packets[1].end), (15, 22));
}

#[test]
fn bytes_that_do_not_tell_are_read_as_the_version_that_fits() {
    assert_eq!(decode_guessing(PUBLISH).version, ProtocolVersion::V3_1_1);
    assert_eq!(decode_guessing(&[0xD0, 0]).version, ProtocolVersion::V5);
    let explicit = decode(PUBLISH, ProtocolVersion::V5);
    assert!(matches!(explicit.end, End::Malformed { start: 0, .. }));
}

#[test]
fn what_is_wrong_is_said_with_its_place_reason_code_and_statement() {
    let report = decode_bytes(&[0xD0, 0, 0x36, 0], None);
    assert_eq!(report.lines, "     0  PINGRESP\n");
    let problem = report.problem.unwrap();
    assert!(problem.starts_with("byte 2: no packet of MQTT 5.0: "), "{problem}");
    assert!(problem.contains("(0x81 ") && problem.contains("MQTT-3.3.1-4"), "{problem}");

    let cut = decode_bytes(&PUBLISH[..4], None).problem.unwrap();
    assert_eq!(cut, "byte 0: a packet begins but is not complete: 4 bytes of it");
    assert!(decode_bytes(&[], None).problem.is_some());
}

/// Ethernet frame of a TCP segment between 10.0.0.1:50000 and 10.0.0.2:1883.
fn segment(to_server: bool, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let ports = if to_server { (50_000_u16, 1883_u16) } else { (1883, 50_000) };
    let hosts = if to_server { (1, 2) } else { (2, 1) };
    let mut tcp = Vec::new();
    tcp.extend(ports.0.to_be_bytes());
    tcp.extend(ports.1.to_be_bytes());
    tcp.extend(sequence.to_be_bytes());
    tcp.extend([0, 0, 0, 0, 5 << 4, flags, 1, 0, 0, 0, 0, 0]);
    tcp.extend(payload);
    let mut frame = vec![0; 12];
    frame.extend([0x08, 0x00, 0x45, 0]);
    frame.extend((20 + tcp.len() as u16).to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, hosts.0, 10, 0, 0, hosts.1]);
    frame.extend(tcp);
    // Short frames are padded, which is no payload.
    frame.resize(frame.len().max(60), 0);
    frame
}

const SYN: u8 = 2;

/// A connection whose CONNECT comes in two parts, the second twice and before the first.
fn conversation() -> Vec<Vec<u8>> {
    let first = u32::MAX - 4;
    let at = |offset: u32| first.wrapping_add(1).wrapping_add(offset);
    vec![
        segment(true, first, SYN, &[]),
        segment(false, 7, SYN, &[]),
        segment(true, at(5), 0, &CONNECT[5..]),
        segment(true, at(0), 0, &CONNECT[..5]),
        segment(true, at(5), 0, &CONNECT[5..]),
        segment(false, 8, 0, CONNACK),
        segment(true, at(15), 0, PUBLISH),
    ]
}

fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = 0xA1B2_C3D4_u32.to_be_bytes().to_vec();
    file.extend([0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    for frame in frames {
        file.extend([0; 8]);
        file.extend((frame.len() as u32).to_be_bytes());
        file.extend((frame.len() as u32).to_be_bytes());
        file.extend(frame);
    }
    file
}

fn pcapng(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut block = |block_type: u32, body: &[u8]| {
        let len = 12 + body.len().next_multiple_of(4);
        file.extend(block_type.to_le_bytes());
        file.extend((len as u32).to_le_bytes());
        file.extend(body);
        file.resize(file.len().next_multiple_of(4), 0);
        file.extend((len as u32).to_le_bytes());
    };
    block(
        0x0A0D_0D0A,
        &[0x4D, 0x3C, 0x2B, 0x1A, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255],
    );
    block(1, &[1, 0, 0, 0, 0, 0, 1, 0]);
    block(0xBAD, &[1, 2, 3, 4]);
    for frame in frames {
        let mut body = vec![0; 12];
        body.extend((frame.len() as u32).to_le_bytes());
        body.extend((frame.len() as u32).to_le_bytes());
        body.extend(frame);
        block(6, &body);
    }
    file
}

#[test]
fn a_capture_is_put_in_order_and_printed_by_frame() {
    for file in [pcap(&conversation()), pcapng(&conversation())] {
        assert!(capture::is_capture(&file));
        let report = decode_capture(&file, 1883, None);
        assert_eq!(report.problem, None);
        let starts: Vec<String> = report
            .lines
            .lines()
            .map(|line| line.split_whitespace().take(6).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            starts,
            [
                "3 10.0.0.1:50000 > 10.0.0.2:1883 0 CONNECT",
                "6 10.0.0.2:1883 > 10.0.0.1:50000 0 CONNACK",
                "7 10.0.0.1:50000 > 10.0.0.2:1883 15 PUBLISH",
            ]
        );
    }
}

#[test]
fn a_gap_in_a_capture_is_said() {
    let mut frames = conversation();
    frames.retain(|frame| !frame.ends_with(&CONNECT[5..]));
    let problem = decode_capture(&pcap(&frames), 1883, None).problem.unwrap();
    assert_eq!(problem, "10.0.0.1:50000 > 10.0.0.2:1883: byte 5: bytes are missing in the capture");
    let nothing = decode_capture(&pcap(&frames), 1, None).problem.unwrap();
    assert_eq!(nothing, "no TCP connection with port 1 in 5 frames; see --port");
}

#[test]
fn any_cut_of_a_capture_is_read_without_panic() {
    for file in [pcap(&conversation()), pcapng(&conversation())] {
        for end in 0..file.len() {
            decode_capture(&file[..end], 1883, None);
        }
        for at in 0..file.len() {
            for value in [0, 0x7F, 0xFF] {
                let mut bent = file.clone();
                bent[at] = value;
                decode_capture(&bent, 1883, None);
            }
        }
    }
}

//! PUBACK, PUBREC, PUBREL and PUBCOMP that no server may accept. Spec: §3.4 to §3.7.

use super::Check;
use super::message_steps::{MALFORMED, refused};
use crate::{BOTH, V3, V5, frame};

/// An entry of the table for an acknowledgement that is against the form.
macro_rules! bad {
    ($name:literal, $versions:expr, $first_byte:literal, $body:literal, $statements:expr, $looks_for:literal) => {
        Check {
            name: concat!("acknowledgements/", $name),
            versions: $versions,
            statements: $statements,
            looks_for: $looks_for,
            run: |bench| refused(bench, &frame($first_byte, $body), MALFORMED),
        }
    };
}

const FLAGS: &[&str] =
    &["MQTT-2.1.3-1", "MQTT-4.13.1-1", "MQTT3-2.2.2-1", "MQTT3-2.2.2-2", "MQTT3-4.8.0-1"];
const PUBREL_FLAGS: &[&str] = &["MQTT-3.6.1-1", "MQTT-4.13.1-1", "MQTT3-3.6.1-1"];
const FORM: &[&str] = &["MQTT-4.13.1-1", "MQTT3-4.8.0-1"];

pub(super) const CHECKS: &[Check] = &[
    bad!("puback-flags", BOTH, 0x42, "0001", FLAGS, "flags of PUBACK are refused"),
    bad!("pubrec-flags", BOTH, 0x51, "0001", FLAGS, "flags of PUBREC are refused"),
    bad!("pubcomp-flags", BOTH, 0x78, "0001", FLAGS, "flags of PUBCOMP are refused"),
    bad!("pubrel-without-flags", BOTH, 0x60, "0001", PUBREL_FLAGS, "PUBREL with 0000 is refused"),
    bad!("pubrel-with-more-flags", BOTH, 0x63, "0001", PUBREL_FLAGS, "PUBREL with 0011 is refused"),
    bad!("puback-empty", BOTH, 0x40, "", FORM, "PUBACK without Packet Identifier is refused"),
    bad!("pubrec-of-one-byte", BOTH, 0x50, "00", FORM, "PUBREC of one byte is refused"),
    bad!("pubrel-of-one-byte", BOTH, 0x62, "01", FORM, "PUBREL of one byte is refused"),
    bad!("pubcomp-empty", BOTH, 0x70, "", FORM, "PUBCOMP without Packet Identifier is refused"),
    bad!("puback-too-long", V3, 0x40, "0001 00", FORM, "PUBACK of three bytes is refused"),
    bad!("pubrel-too-long", V3, 0x62, "0001 00 00", FORM, "PUBREL of four bytes is refused"),
    bad!(
        "puback-reason-code-unknown",
        V5,
        0x40,
        "0001 01",
        &["MQTT-3.4.2-1", "MQTT-4.13.1-1"],
        "a Reason Code that PUBACK does not have is refused"
    ),
    bad!(
        "pubrec-reason-code-unknown",
        V5,
        0x50,
        "0001 92",
        &["MQTT-3.5.2-1", "MQTT-4.13.1-1"],
        "a Reason Code that PUBREC does not have is refused"
    ),
    bad!(
        "pubrel-reason-code-unknown",
        V5,
        0x62,
        "0001 80",
        &["MQTT-3.6.2-1", "MQTT-4.13.1-1"],
        "a Reason Code that PUBREL does not have is refused"
    ),
    bad!(
        "pubcomp-reason-code-unknown",
        V5,
        0x70,
        "0001 10",
        &["MQTT-3.7.2-1", "MQTT-4.13.1-1"],
        "a Reason Code that PUBCOMP does not have is refused"
    ),
    bad!(
        "reason-string-twice",
        V5,
        0x40,
        "0001 00 08 1F 'a' 1F 'b'",
        &["MQTT-4.13.1-1"],
        "a second Reason String in PUBACK is refused"
    ),
    bad!(
        "reason-string-not-utf-8",
        V5,
        0x62,
        "0001 92 05 1F 0002 C328",
        &["MQTT-1.5.4-1", "MQTT-4.13.1-1"],
        "a Reason String that is not UTF-8 is refused"
    ),
    bad!(
        "property-of-publish",
        V5,
        0x70,
        "0001 00 02 01 01",
        &["MQTT-4.13.1-1"],
        "a property of PUBLISH in PUBCOMP is refused"
    ),
    bad!(
        "properties-beyond-the-packet",
        V5,
        0x50,
        "0001 00 09 1F 'a'",
        &["MQTT-4.13.1-1"],
        "properties longer than their PUBREC are refused"
    ),
];

//! `dunlin decode`: prints the packets in hex digits, raw bytes, or a capture file.

mod capture;
mod hex;
mod stream;
mod tcp;
#[cfg(test)]
mod tests;

use crate::arguments::number;
use crate::failure::{EXIT_CODES, Failure};
use crate::output::print;
use clap::Args;
use dunlin_codec::{Packet, ProtocolVersion};
use std::fmt::Write as _;
use std::io::{self, Read as _};
use std::path::PathBuf;
use stream::{Decoded, End, decode, decode_guessing};

/// The bytes of a payload that are shown.
const EXCERPT_BYTES: usize = 64;

const EXAMPLES: &str = "\
Each line is the offset of a packet, what it says, and the beginning of its
payload: quoted, or as hex digits when it isn't text. Bytes that are no
packet end the output with the reason, its Reason Code and the statement of
the standard, and exit code 1.

Examples:
  dunlin decode 30 05 00 01 61 68 69
  dunlin decode --version 5 c0:00
  echo 0xd000 | dunlin decode
  tcpdump -i lo -w mqtt.pcap port 1883; dunlin decode --file mqtt.pcap";

/// Prints the packets in hex digits or a capture file.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct DecodeArgs {
    /// Hex digits; spaces, colons and 0x don't matter. Read from standard input if there are none
    #[arg(value_name = "HEX", conflicts_with = "file")]
    hex: Vec<String>,
    /// Read a capture (pcap, pcapng) or raw bytes from this file; - is standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Read packets as this version: 3.1, 3.1.1 or 5 [default: what CONNECT says, or what fits]
    #[arg(long, value_name = "VERSION", value_parser = parse_version)]
    version: Option<ProtocolVersion>,
    /// In a capture, the port of the broker
    #[arg(short, long, default_value_t = 1883, value_parser = number::<u16>)]
    port: u16,
}

/// Reads a version as people write it: 5, 5.0, mqttv5, 3.1.1, 311, ...
pub(crate) fn parse_version(text: &str) -> Result<ProtocolVersion, String> {
    let digits = text.trim_start_matches("mqtt").trim_start_matches('v').replace('.', "");
    match digits.as_str() {
        "5" | "50" => Ok(ProtocolVersion::V5),
        "311" | "4" => Ok(ProtocolVersion::V3_1_1),
        "31" | "3" => Ok(ProtocolVersion::V3_1),
        _ => Err("the versions are 3.1, 3.1.1 and 5".to_owned()),
    }
}

impl DecodeArgs {
    /// Prints the packets to standard output.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let bytes = self.read()?;
        let report = if self.file.is_some() && capture::is_capture(&bytes) {
            decode_capture(&bytes, self.port, self.version)
        } else {
            decode_bytes(&bytes, self.version)
        };
        print(&report.lines)?;
        if let Some(note) = report.note {
            eprintln!("{note}");
        }
        match report.problem {
            Some(problem) => Err(Failure::new(problem)),
            None => Ok(()),
        }
    }

    fn read(&self) -> Result<Vec<u8>, Failure> {
        let read_stdin = || {
            let mut bytes = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut bytes);
            read.map_err(|error| Failure::new(format!("standard input: {error}")))?;
            Ok(bytes)
        };
        match &self.file {
            Some(path) if path.as_os_str() == "-" => read_stdin(),
            Some(path) => std::fs::read(path)
                .map_err(|error| Failure::new(format!("can't read {}: {error}", path.display()))),
            None => {
                let text = if self.hex.is_empty() {
                    String::from_utf8_lossy(&read_stdin()?).into_owned()
                } else {
                    self.hex.join(" ")
                };
                hex::parse(&text).map_err(Failure::usage)
            }
        }
    }
}

/// What is printed, and the first thing that was wrong.
#[derive(Debug, Default)]
struct Report {
    lines: String,
    /// How the bytes were read, when nothing said it.
    note: Option<String>,
    problem: Option<String>,
}

fn decode_bytes(bytes: &[u8], version: Option<ProtocolVersion>) -> Report {
    let decoded = version.map_or_else(|| decode_guessing(bytes), |version| decode(bytes, version));
    let mut report = Report::default();
    for located in &decoded.packets {
        let _ = writeln!(report.lines, "{:>6}  {}", located.start, shown(&located.packet));
    }
    let is_told = version.is_some()
        || decoded.packets.iter().any(|located| matches!(located.packet, Packet::Connect(_)));
    if !is_told && decoded.version != ProtocolVersion::V5 {
        report.note =
            Some(format!("read as MQTT {}; say --version 5 if it isn't", decoded.version));
    }
    report.problem = problem(&decoded);
    if bytes.is_empty() {
        report.problem = Some("there are no bytes to decode".to_owned());
    }
    report
}

/// The packet, with the beginning of its payload.
fn shown(packet: &Packet) -> String {
    match packet {
        Packet::Publish(publish) if !publish.payload.is_empty() => {
            format!("{packet}  {}", excerpt(&publish.payload))
        }
        _ => packet.to_string(),
    }
}

/// The beginning of a payload: text in quotes, with escapes, and anything else as hex digits.
fn excerpt(payload: &[u8]) -> String {
    let start = &payload[..payload.len().min(EXCERPT_BYTES)];
    let text = match std::str::from_utf8(start) {
        Ok(text) => Some(text),
        // A character that the end cuts in two is left out.
        Err(error) if error.error_len().is_none() && start.len() < payload.len() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    let mut excerpt = String::new();
    match text {
        Some(text) => excerpt.push_str(&format!("{text:?}")),
        None => start.iter().for_each(|byte| excerpt.push_str(&format!("{byte:02x}"))),
    }
    if start.len() < payload.len() {
        excerpt.push_str("...");
    }
    excerpt
}

/// Why the bytes end before their end.
fn problem(decoded: &Decoded) -> Option<String> {
    match &decoded.end {
        End::Complete => None,
        End::Cut { start, len } => {
            Some(format!("byte {start}: a packet begins but is not complete: {len} bytes of it"))
        }
        End::Malformed { start, error } => {
            let reason = error.reason_code();
            Some(format!(
                "byte {start}: no packet of MQTT {}: {error} (0x{:02X} {}, {})",
                decoded.version,
                reason.value(),
                reason.name(),
                error.statement(),
            ))
        }
    }
}

fn decode_capture(file: &[u8], port: u16, version: Option<ProtocolVersion>) -> Report {
    let frames = capture::frames(file);
    let connections = tcp::connections(&frames, port);
    let mut report = Report::default();
    if connections.is_empty() {
        let frames = frames.len();
        report.problem =
            Some(format!("no TCP connection with port {port} in {frames} frames; see --port"));
    }
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (upward, downward) in &connections {
        let sent = version
            .map_or_else(|| decode_guessing(&upward.bytes), |given| decode(&upward.bytes, given));
        // What the client's CONNECT said holds for the answers.
        let received = decode(&downward.bytes, sent.version);
        for (flow, decoded) in [(upward, &sent), (downward, &received)] {
            let label = format!("{} > {}", flow.from, flow.to);
            for located in &decoded.packets {
                let frame = flow.frame_of(located.end);
                let (start, packet) = (located.start, shown(&located.packet));
                lines.push((frame, format!("{frame:>6}  {label} {start:>6}  {packet}")));
            }
            let gap = || {
                let missing = flow.has_gap.then_some("bytes are missing in the capture");
                missing.map(|missing| format!("byte {}: {missing}", flow.bytes.len()))
            };
            let problem = gap().or_else(|| problem(decoded));
            if let (Some(problem), None) = (problem, &report.problem) {
                report.problem = Some(format!("{label}: {problem}"));
            }
        }
    }
    lines.sort_by_key(|(frame, _)| *frame);
    for (_, line) in lines {
        let _ = writeln!(report.lines, "{line}");
    }
    report
}

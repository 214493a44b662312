//! `dunlin decode`.

use crate::program::{Ended, command, run};
use std::io::Write as _;
use std::process::Stdio;

#[test]
fn hex_digits_are_explained() {
    run(&["decode", "30", "05", "00", "01", "61", "68", "69"]).check(
        0,
        "     0  PUBLISH q0 \"a\" 2 bytes  \"hi\"\n",
        "read as MQTT 3.1.1; say --version 5 if it isn't\n",
    );
    run(&["decode", "--version", "3.1.1", "c000d000"]).check(
        0,
        "     0  PINGREQ\n     2  PINGRESP\n",
        "",
    );
}

#[test]
fn standard_input_is_read_when_there_are_no_digits() {
    let mut command = command(&["decode"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"0xC0:00\n").unwrap();
    Ended::of(child.wait_with_output().unwrap()).check(0, "     0  PINGREQ\n", "");
}

#[test]
fn a_file_of_raw_bytes_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bytes");
    std::fs::write(&file, [0xC0, 0, 0x40, 2]).unwrap();
    run(&["decode", "--file", file.to_str().unwrap()]).check(
        1,
        "     0  PINGREQ\n",
        "error: byte 2: a packet begins but is not complete: 2 bytes of it\n",
    );
}

#[test]
fn what_is_no_packet_is_explained_with_exit_code_1() {
    let ended = run(&["decode", "--version", "5", "36", "00"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("QoS is 3 (0x81 "), "{ended:?}");
    assert!(ended.stderr.contains("MQTT-3.3.1-4"), "{ended:?}");
    run(&["decode", "c0", "0"]).check(2, "", "error: \"0\" has an odd number of hex digits\n");
    run(&["decode", "3x"]).check(2, "", "error: 'x' in \"3x\" is no hex digit\n");
}

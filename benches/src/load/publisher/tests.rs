//! Frames that are filled in on sending.

use super::*;
use crate::frame::Frame;
use crate::traffic::Shape;

/// The Topic Name of a PUBLISH.
fn topic_name<'a>(frame: &Frame<'a>) -> &'a [u8] {
    let (len, rest) = frame.body.split_first_chunk().unwrap();
    &rest[..u16::from_be_bytes(*len).into()]
}

#[test]
fn a_fresh_topic_name_is_never_used_again_and_the_payload_tells_its_place() {
    for qos in [0, 1] {
        let usual = Traffic::new(Shape::Wildcards);
        let traffic = Traffic { topics: 2, is_fresh: true, qos, ..usual };
        let mut publisher = Publisher::new(&traffic, 5);
        let mut output = Vec::new();
        for expected in ["bench/5/0/00000000", "bench/5/1/00000001", "bench/5/0/00000002"] {
            output.clear();
            publisher.push_message(&mut output, &traffic);
            let frame = frame::split_frame(&output).unwrap().unwrap();
            assert_eq!(topic_name(&frame), expected.as_bytes());
            let payload = frame.publish().unwrap().payload;
            assert_eq!(payload[..4], 5_u32.to_be_bytes());
            assert_eq!(payload[7], expected.as_bytes()[17] - b'0');
        }
        for _ in 3..=0x1f {
            output.clear();
            publisher.push_message(&mut output, &traffic);
        }
        let frame = frame::split_frame(&output).unwrap().unwrap();
        assert_eq!(topic_name(&frame), b"bench/5/1/0000001f");
    }
}

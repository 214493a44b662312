//! `TransmitBuf` beside the plain list of bytes that it stands for.

use crate::support::bytes_of;
use bytes::Bytes;
use dunlin_codec::{SHARED_LEN_MIN, TransmitBuf};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    PutSlice(usize),
    PutInteger(u32),
    PutBytes(usize),
    Share(bool),
    Advance(prop::sample::Index),
    AdvanceAll,
    TakeStorage,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_usize..6_000).prop_map(Step::PutSlice),
        3 => any::<u32>().prop_map(Step::PutInteger),
        // On both sides of the sizes from which bytes are referenced.
        4 => prop_oneof![0_usize..64, 506_usize..518, 4_090_usize..4_102, 4_096_usize..9_000].prop_map(Step::PutBytes),
        2 => any::<bool>().prop_map(Step::Share),
        4 => any::<prop::sample::Index>().prop_map(Step::Advance),
        1 => Just(Step::AdvanceAll),
        1 => Just(Step::TakeStorage),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_a_list_of_bytes(steps in vec(step(), 1..60)) {
        let mut buffer = TransmitBuf::new();
        let mut model: Vec<u8> = Vec::new();
        let mut next = 0_u8;
        let mut fresh = |len: usize| -> Vec<u8> {
            (0..len).map(|_| { next = next.wrapping_add(1); next }).collect()
        };
        for step in steps {
            match step {
                Step::PutSlice(len) => {
                    let bytes = fresh(len);
                    buffer.put_slice(&bytes);
                    model.extend(bytes);
                }
                Step::PutInteger(value) => {
                    buffer.put_u8(value as u8);
                    buffer.put_u16(value as u16);
                    buffer.put_u32(value);
                    model.push(value as u8);
                    model.extend((value as u16).to_be_bytes());
                    model.extend(value.to_be_bytes());
                }
                Step::PutBytes(len) => {
                    let bytes = Bytes::from(fresh(len));
                    buffer.put_bytes(&bytes);
                    model.extend_from_slice(&bytes);
                }
                Step::Share(is_shared) => buffer.share(is_shared),
                Step::Advance(at) => {
                    let count = at.index(model.len() + 1);
                    buffer.advance(count);
                    model.drain(..count);
                }
                Step::AdvanceAll => {
                    buffer.advance(model.len());
                    model.clear();
                }
                Step::TakeStorage => match buffer.take_storage() {
                    Some(storage) => {
                        prop_assert!(model.is_empty());
                        prop_assert_eq!(buffer.capacity(), 0);
                        buffer.give_storage(storage);
                    }
                    None => prop_assert!(!model.is_empty()),
                },
            }
            prop_assert_eq!(buffer.len(), model.len());
            prop_assert_eq!(buffer.is_empty(), model.is_empty());
            prop_assert_eq!(bytes_of(&buffer), &model[..]);
            if let Some(all) = buffer.contiguous() {
                prop_assert_eq!(all, &model[..]);
            }
        }
    }

    #[test]
    fn few_places_get_the_front(payloads in vec(4_096_usize..4_200, 1..8), places in 1_usize..10) {
        let mut buffer = TransmitBuf::new();
        let mut model = Vec::new();
        for len in payloads {
            buffer.put_u8(1);
            buffer.put_bytes(&Bytes::from(vec![2; len]));
            model.push(1);
            model.extend(vec![2; len]);
        }
        let mut pieces = vec![&[][..]; places];
        let count = buffer.pieces(&mut pieces);
        prop_assert!(pieces[..count].iter().all(|piece| !piece.is_empty()));
        prop_assert!(model.starts_with(&pieces[..count].concat()));
    }
}

#[test]
fn a_buffer_that_never_drains_does_not_grow_by_what_was_sent() {
    let mut buffer = TransmitBuf::new();
    buffer.put_slice(&[0; 1000]);
    for _ in 0..10_000 {
        buffer.put_slice(&[0; 1000]);
        buffer.advance(1000);
    }
    assert!(buffer.capacity() < 64 * 1024, "grew to {}", buffer.capacity());
}

#[test]
fn what_many_share_is_referenced_sooner() {
    let payload = Bytes::from(vec![1; SHARED_LEN_MIN]);
    let mut buffer = TransmitBuf::new();
    buffer.put_bytes(&payload);
    assert!(buffer.contiguous().is_some_and(|all| all == payload), "a copy");
    buffer.share(true);
    buffer.put_bytes(&payload.slice(1..));
    assert!(buffer.contiguous().is_some(), "too small to be referenced");
    buffer.put_bytes(&payload);
    assert!(buffer.contiguous().is_none());
    let mut pieces = [&[][..]; 4];
    assert_eq!(buffer.pieces(&mut pieces), 2);
    assert_eq!(pieces[1].as_ptr(), payload.as_ptr(), "the payload itself");
}

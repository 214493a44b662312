//! Which identifiers an endpoint knows again.

use super::*;

fn identifiers(key: u8) -> Identifiers {
    Identifiers(hmac::Key::new(HMAC_SHA256, &[key; 32]))
}

#[test]
fn an_endpoint_knows_its_identifiers_and_no_others() {
    let mut before = identifiers(1);
    let (after, another) = (identifiers(1), identifiers(2));
    for _ in 0..1000 {
        let identifier = before.generate_cid();
        assert_eq!(identifier.len(), after.cid_len());
        after.validate(&identifier).expect("it is ours");
        another.validate(&identifier).expect_err("it is another's");
        for at in 0..IDENTIFIER_LEN {
            let mut changed = identifier.to_vec();
            changed[at] ^= 1;
            after.validate(&ConnectionId::new(&changed)).expect_err("a bit is another");
        }
        for len in 0..IDENTIFIER_LEN {
            after.validate(&ConnectionId::new(&identifier[..len])).expect_err("it is cut off");
        }
    }
}

#[test]
fn no_other_endpoint_says_what_ends_the_connections_of_this_one() {
    let here = place("127.0.0.1:14567".parse().expect("an address"));
    assert_eq!(here, place("127.0.0.1:14567".parse().expect("an address")));
    assert_ne!(here, place("127.0.0.1:14568".parse().expect("an address")));
    assert!(here.len() > "127.0.0.1:14567".len() + 1, "a machine has a name");
}

//! Vectors of RFC 7677, both ends against each other, and messages that must not pass.

use super::*;
use crate::UserName;
use std::collections::BTreeMap;

const CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
const SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

/// Proof and signature for the messages of RFC 7677 §3; those of SHA-512 are made with Python's
/// hashlib over the same messages.
const VECTORS: [(Mechanism, &str, &str); 2] = [
    (
        Mechanism::SHA_256,
        "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
    (
        Mechanism::SHA_512,
        "gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==",
        "ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==",
    ),
];

fn credentials(mechanism: Mechanism, password: &[u8]) -> Credentials {
    let salt = crate::hash::from_base64(SALT).expect("base64");
    Credentials::derive(mechanism, password, &salt, 4_096).expect("legal")
}

fn server(mechanism: Mechanism) -> ScramServer {
    ScramServer::new(mechanism, &[3; 32])
}

fn text(message: &[u8]) -> &str {
    std::str::from_utf8(message).expect("UTF-8")
}

#[test]
fn exchange_of_the_standard() {
    for (mechanism, proof, signature) in VECTORS {
        let known = credentials(mechanism, b"pencil");
        let client =
            ClientStart::with_nonce(mechanism, "user", b"pencil", CLIENT_NONCE.to_owned()).unwrap();
        assert_eq!(text(&client.message()), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");

        let server = server(mechanism);
        let challenge =
            server.begin_with(&client.message(), |_| Some(&known), SERVER_NONCE).unwrap();
        assert_eq!(text(&challenge.data), SERVER_FIRST);

        let (message, client) = client.handle_server_first(&challenge.data).unwrap();
        let expected = format!("c=biws,r={CLIENT_NONCE}{SERVER_NONCE},p={proof}");
        assert_eq!(text(&message), expected);

        let state = ServerState::from_bytes(challenge.state.as_bytes());
        let login = server.finish(&state, &message, |_| Some(&known)).unwrap();
        assert_eq!(login.user.as_str(), "user");
        assert_eq!(text(&login.data), format!("v={signature}"));
        client.handle_server_final(&login.data).unwrap();
    }
}

/// A whole exchange of a client and a server that knows some users.
fn exchange(
    users: &BTreeMap<&str, Credentials>,
    user: &str,
    password: &[u8],
) -> Result<UserName, ServerError> {
    let server = server(Mechanism::SHA_256);
    let find = |name: &UserName| users.get(name.as_str());
    let client = ClientStart::new(Mechanism::SHA_256, user, password, &[1; NONCE_LEN]).unwrap();
    let challenge = server.begin(&client.message(), find, &[2; NONCE_LEN])?;
    let (message, client) = client.handle_server_first(&challenge.data).expect("good challenge");
    let login = server.finish(&challenge.state, &message, find)?;
    client.handle_server_final(&login.data).expect("the server knows the password");
    Ok(login.user)
}

#[test]
fn only_the_password_of_the_user_logs_in() {
    let users = BTreeMap::from([
        ("alice", credentials(Mechanism::SHA_256, b"pencil")),
        ("a,b=c", credentials(Mechanism::SHA_256, "pass\u{2168}".as_bytes())),
        ("other", credentials(Mechanism::SHA_512, b"pencil")),
    ]);
    assert_eq!(exchange(&users, "alice", b"pencil").unwrap().as_str(), "alice");
    // SASLprep: a soft hyphen counts for nothing, and the Roman numeral nine is the letters I and X.
    assert_eq!(exchange(&users, "al\u{ad}ice", b"pencil").unwrap().as_str(), "alice");
    assert_eq!(exchange(&users, "a,b=c", b"passIX").unwrap().as_str(), "a,b=c");
    assert_eq!(exchange(&users, "alice", b"pencil2"), Err(ServerError::Denied));
    assert_eq!(exchange(&users, "nobody", b"pencil"), Err(ServerError::Denied));
    assert_eq!(exchange(&users, "nobody", b""), Err(ServerError::Denied));
    assert_eq!(exchange(&users, "other", b"pencil"), Err(ServerError::Denied));
}

#[test]
fn an_unknown_user_is_answered_as_a_known_one_is() {
    let server = server(Mechanism::SHA_256);
    let first = |user: &str, nonce: u8| {
        let message = format!("n,,n={user},r=abc");
        let challenge = server.begin(message.as_bytes(), |_| None, &[nonce; NONCE_LEN]).unwrap();
        let message = text(&challenge.data).to_owned();
        message.split_once(",s=").expect("a salt").1.to_owned()
    };
    assert_eq!(first("bob", 1), first("bob", 2), "its salt stays");
    assert_ne!(first("bob", 1), first("eve", 1), "each has its own");
    assert_eq!(first("bob", 1).len(), format!("{SALT},i=4096").len());
}

#[test]
fn all_zero_keys_are_no_way_in() {
    // What an unknown user is checked with is public: a proof made for it must not help.
    let server = server(Mechanism::SHA_256);
    let challenge = server.begin(b"n,,n=bob,r=abc", |_| None, &[2; NONCE_LEN]).unwrap();
    let nonce = text(&challenge.data).split(',').next().unwrap().to_owned();
    for byte in [0, 255] {
        let proof = crate::hash::to_base64(&[byte; 32]);
        let message = format!("c=biws,{nonce},p={proof}");
        let result = server.finish(&challenge.state, message.as_bytes(), |_| None);
        assert_eq!(result, Err(ServerError::Denied));
    }
}

#[test]
fn credentials_that_change_on_the_way_end_the_exchange() {
    let server = server(Mechanism::SHA_256);
    let before = credentials(Mechanism::SHA_256, b"pencil");
    let after = Credentials::derive(Mechanism::SHA_256, b"pencil", &[8; 16], 5_000).unwrap();
    let client = ClientStart::new(Mechanism::SHA_256, "alice", b"pencil", &[1; 24]).unwrap();
    let challenge = server.begin(&client.message(), |_| Some(&before), &[2; 24]).unwrap();
    let (message, _) = client.handle_server_first(&challenge.data).unwrap();
    let result = server.finish(&challenge.state, &message, |_| Some(&after));
    assert_eq!(result, Err(ServerError::Denied));
    let other = ScramServer::new(Mechanism::SHA_512, &[3; 32]);
    let result = other.finish(&challenge.state, &message, |_| Some(&before));
    assert_eq!(result, Err(ServerError::State));
}

#[test]
fn first_messages_that_are_refused() {
    use MalformedMessage::*;
    let long = format!("n,,n=a,r=b,x={}", "y".repeat(MESSAGE_LEN_MAX));
    let long_nonce = format!("n,,n=a,r={}", "y".repeat(257));
    let long_name = format!("n,,n={},r=b", "y".repeat(257));
    for (message, expected) in [
        (&b"p=tls-exporter,,n=a,r=b"[..], ChannelBinding),
        (b"y,,n=a,r=b", ChannelBinding),
        (b"n,a=root,n=a,r=b", AuthorizationIdentity),
        (b"", Attributes),
        (b"n", Attributes),
        (b"n,,", Attributes),
        (b"n,,n=a", Attributes),
        (b"n,,r=b,n=a", Attributes),
        (b"x,,n=a,r=b", Attributes),
        (b"n,,n=a,r=b,", Attributes),
        (b"n,,n=a,r=b,1=c", Attributes),
        (b"n,,m=x,n=a,r=b", MandatoryExtension),
        (b"n,,n=a,r=b,m=x", MandatoryExtension),
        (b"n,,n=a,r=", Nonce),
        (b"n,,n=a,r=b c", Nonce),
        (b"n,,n=,r=b", UserName),
        (b"n,,n=a=,r=b", UserName),
        (b"n,,n=a=2,r=b", UserName),
        (b"n,,n=a=2c,r=b", UserName),
        ("n,,n=a=\u{e9}\u{e9},r=b".as_bytes(), UserName),
        (b"n,,n=a\0b,r=b", UserName),
        (b"n,,n=a\xff,r=b", NotUtf8),
        (long.as_bytes(), TooLong),
        (long_nonce.as_bytes(), Nonce),
        (long_name.as_bytes(), UserName),
    ] {
        let result = server(Mechanism::SHA_256).begin(message, |_| None, &[2; NONCE_LEN]);
        assert_eq!(result, Err(ServerError::Malformed(expected)), "{message:?}");
    }
    let odd = b"n,,n=a,r=b,x=a\nb";
    let server = server(Mechanism::SHA_256);
    let challenge = server.begin(odd, |_| None, &[2; NONCE_LEN]).expect("extensions are skipped");
    let result = server.finish(&challenge.state, b"c=biws,r=b,p=", |_| None);
    assert_eq!(result, Err(ServerError::Nonce), "the state was read");
}

#[test]
fn final_messages_that_are_refused() {
    use MalformedMessage::*;
    let server = server(Mechanism::SHA_256);
    let known = credentials(Mechanism::SHA_256, b"pencil");
    let client = ClientStart::new(Mechanism::SHA_256, "alice", b"pencil", &[1; 24]).unwrap();
    let challenge = server.begin(&client.message(), |_| Some(&known), &[2; 24]).unwrap();
    let (message, _) = client.handle_server_first(&challenge.data).unwrap();
    let good = text(&message);
    let finish =
        |message: &str| server.finish(&challenge.state, message.as_bytes(), |_| Some(&known));
    assert!(finish(good).is_ok());
    let malformed = |error: MalformedMessage| Err(ServerError::Malformed(error));
    assert_eq!(finish(&good.replace("c=biws", "c=eSws")), malformed(ChannelBinding));
    assert_eq!(finish(&good.replace("c=biws,", "")), malformed(Attributes));
    assert_eq!(finish(&good.replace(",p=", ",m=x,p=")), malformed(MandatoryExtension));
    assert_eq!(finish(&good.replace("p=", "q=")), malformed(Attributes));
    assert_eq!(finish(&format!("{good}!")), malformed(Value));
    assert_eq!(finish("c=biws,r=x,p=AAAA"), Err(ServerError::Nonce));
    let (start, _) = good.split_once(",p=").expect("a proof");
    assert_eq!(finish(&format!("{start},p=AAAA")), malformed(Value), "not as long as a digest");
    assert_eq!(finish(""), malformed(Attributes));
    // An extension is under the signature.
    assert_eq!(finish(&good.replace(",p=", ",x=1,p=")), Err(ServerError::Denied));
}

#[test]
fn states_that_are_no_states_end_the_exchange() {
    let server = server(Mechanism::SHA_256);
    for state in [&b""[..], b"\x01", b"\x01\n", b"\x01n=a,r=b\n", b"\x01\xff\n", b"\x07a\nb"] {
        let result = server.finish(&ServerState::from_bytes(state), b"c=biws,r=b,p=", |_| None);
        assert!(result.is_err(), "{state:?}");
    }
}

#[test]
fn servers_that_a_client_refuses() {
    let start = || {
        ClientStart::with_nonce(Mechanism::SHA_256, "user", b"pencil", CLIENT_NONCE.to_owned())
            .unwrap()
    };
    let first = |message: &str| start().handle_server_first(message.as_bytes()).map(|_| ());
    assert_eq!(first(SERVER_FIRST), Ok(()));
    assert_eq!(first(&SERVER_FIRST.replace("4096", "4095")), Err(ClientError::Iterations(4_095)));
    assert_eq!(first(&SERVER_FIRST.replace("4096", "100000")), Ok(()));
    let costly = SERVER_FIRST.replace("4096", "100001");
    assert_eq!(first(&costly), Err(ClientError::Iterations(100_001)));
    let malformed = |error: MalformedMessage| Err(ClientError::Malformed(error));
    for number in ["", "04096", "+4096", "4294967296", "4096 "] {
        let message = SERVER_FIRST.replace("4096", number);
        assert_eq!(first(&message), malformed(MalformedMessage::Iterations), "{number}");
    }
    assert_eq!(first(&SERVER_FIRST.replace("rOpr", "sOpr")), Err(ClientError::Nonce));
    assert_eq!(first(&SERVER_FIRST.replace(SERVER_NONCE, "")), Err(ClientError::Nonce));
    assert_eq!(first(&SERVER_FIRST.replace(SALT, "")), malformed(MalformedMessage::Value));
    assert_eq!(first("e=other-error"), malformed(MalformedMessage::Attributes));

    let last = |message: &str| {
        let (_, client) = start().handle_server_first(SERVER_FIRST.as_bytes()).unwrap();
        client.handle_server_final(message.as_bytes())
    };
    let (_, _, signature) = VECTORS[0];
    assert_eq!(last(&format!("v={signature}")), Ok(()));
    assert_eq!(last(&format!("v={signature},x=1")), Ok(()));
    assert_eq!(last("v=AAAA"), Err(ClientError::Signature));
    assert_eq!(last("v="), Err(ClientError::Signature), "nothing is not a signature");
    assert_eq!(last(""), malformed(MalformedMessage::Attributes));
    let refused = Err(ClientError::Refused("invalid-proof".to_owned()));
    assert_eq!(last("e=invalid\n-proof"), refused);
    let Err(ClientError::Refused(shortened)) = last(&format!("e={}", "x".repeat(1_000))) else {
        panic!("refused");
    };
    assert_eq!(shortened.len(), 64);
}

#[test]
fn credentials_as_text() {
    for mechanism in Mechanism::ALL {
        let made = credentials(mechanism, b"pencil");
        let text = made.to_string();
        assert_eq!(Credentials::parse(&text).as_ref(), Ok(&made));
        assert!(made.is_password(b"pencil") && !made.is_password(b"pencil2"));
        assert!(!made.is_password(b"pencil\x07") && !made.is_password(b"\xff"));
        assert!(!format!("{made:?}").contains(&crate::hash::to_base64(&made.stored_key)));
    }
    let client = ClientStart::new(Mechanism::SHA_256, "user", b"pencil", &[1; 24]).unwrap();
    assert!(!format!("{client:?}").contains("pencil"));
    let text = credentials(Mechanism::SHA_256, b"pencil").to_string();
    for (from, to, expected) in [
        ("256", "1", InvalidCredentials::Malformed),
        ("$scram", "scram", InvalidCredentials::Malformed),
        ("i=4096", "4096", InvalidCredentials::Malformed),
        ("4096", "4095", InvalidCredentials::Iterations),
        ("4096", "100001", InvalidCredentials::Iterations),
        (SALT, "AAAA", InvalidCredentials::Salt),
        (SALT, "!", InvalidCredentials::Salt),
        ("256", "512", InvalidCredentials::Key),
    ] {
        assert_eq!(Credentials::parse(&text.replace(from, to)), Err(expected), "{to}");
    }
    assert_eq!(Credentials::parse(&format!("{text}$")), Err(InvalidCredentials::Malformed));
    let derive = |password, salt, iterations| {
        Credentials::derive(Mechanism::SHA_256, password, salt, iterations).map(|_| ())
    };
    assert_eq!(derive(b"a\x07", &[1; 16], 4_096), Err(InvalidCredentials::Password));
    assert_eq!(derive(b"a", &[1; 7], 4_096), Err(InvalidCredentials::Salt));
    assert_eq!(derive(b"a", &[1; 16], 0), Err(InvalidCredentials::Iterations));
}

#[test]
fn whom_a_client_claims_to_be_is_known_before_it_has_proven_it() {
    let server = server(Mechanism::SHA_512);
    let start = ClientStart::new(Mechanism::SHA_512, "a,b=c", b"wrong", &[1; NONCE_LEN]).unwrap();
    let claimed = claimed_user(&start.message()).expect("a legal message");
    assert_eq!(claimed.as_str(), "a,b=c");
    let challenge = server.begin(&start.message(), |_| None, &[2; NONCE_LEN]).expect("like any");
    let state = ServerState::from_bytes(challenge.state.as_bytes());
    assert_eq!(state.claimed_user(), Some(claimed));
    for malformed in [&b""[..], b"n,,n=user", b"y,,n=user,r=x", b"\xff"] {
        assert_eq!(claimed_user(malformed), None);
        assert_eq!(ServerState::from_bytes(malformed).claimed_user(), None);
    }
}

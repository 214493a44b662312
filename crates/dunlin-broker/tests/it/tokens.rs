//! Clients whose passwords are JSON Web Tokens.

use super::peer::{PATIENCE, Peer, connect, publish, subscribe};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dunlin_broker::config::{Auth, Config, Jwt, Listener, Rights};
use dunlin_broker::{Broker, KeyFileError, ReloadError, StartError};
use dunlin_identity::jwt::{Algorithm, TOKEN_LEN_MAX};
use dunlin_identity::password_file::{Cost, set_password};
use dunlin_protocol::codec::{Packet, QoS, ReasonCode, Will, WillProperties};
use rcgen::{KeyPair, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData as _, SigningKey as _};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::SystemTime;
use tempfile::TempDir;

/// Somebody who makes tokens.
pub(crate) struct Issuer {
    algorithm: Algorithm,
    pair: KeyPair,
}

impl Issuer {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let signs_with = match algorithm {
            Algorithm::Rs256 => &PKCS_RSA_SHA256,
            _ => &PKCS_ED25519,
        };
        Self { algorithm, pair: KeyPair::generate_for(signs_with).expect("a key") }
    }

    fn token(&self, claims: &str) -> String {
        self.token_for(&format!(r#"{{"alg":"{}"}}"#, self.algorithm), claims)
    }

    /// The public key of an EdDSA issuer as a key set.
    pub(crate) fn key_set(&self, identifier: &str) -> String {
        let key = part(self.pair.der_bytes());
        format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"{identifier}","x":"{key}"}}]}}"#)
    }

    pub(crate) fn token_for(&self, header: &str, claims: &str) -> String {
        assemble(header, claims, |message| self.pair.sign(message).expect("signed"))
    }
}

fn part(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn assemble(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", part(header.as_bytes()), part(claims.as_bytes()));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", part(&signature))
}

fn hs256(secret: &[u8], claims: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    assemble(r#"{"alg":"HS256"}"#, claims, |message| hmac::sign(&key, message).as_ref().to_vec())
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock that is set").as_secs()
}

/// Claims of a user, for a minute, and whatever else is said of them.
pub(crate) fn claims(user: &str, further: &str) -> String {
    format!(r#"{{"sub":"{user}","exp":{}{further}}}"#, now() + 60)
}

/// A folder of files that nobody but their owner gets at.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its owner's");
        path
    }

    fn config(&self, key: impl AsRef<[u8]>, algorithm: Algorithm) -> Config {
        let key_file = Some(self.write("keys", key));
        let jwt = Jwt { key_file, algorithms: vec![algorithm], ..Jwt::default() };
        let listeners = vec![Listener::tcp("127.0.0.1:0".parse().expect("an address"))];
        let auth = Auth { jwt, ..Auth::default() };
        Config { listeners, workers: 2, auth, ..Config::default() }
    }
}

fn start(config: Config) -> Broker {
    Broker::builder().config(config).start().expect("legal files")
}

/// Sends CONNECT; the connection, and the Reason Code of its CONNACK.
pub(crate) fn log_in(
    broker: &Broker,
    client_identifier: &str,
    user_name: Option<&str>,
    password: &str,
    will: Option<Will>,
) -> (Peer, ReasonCode) {
    log_in_at(broker.addresses()[0], client_identifier, user_name, password, will)
}

/// The same by a listener of one's choice.
pub(crate) fn log_in_at(
    address: SocketAddr,
    client_identifier: &str,
    user_name: Option<&str>,
    password: &str,
    will: Option<Will>,
) -> (Peer, ReasonCode) {
    let socket = TcpStream::connect(address).expect("a broker");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut peer = Peer::over(socket);
    let Packet::Connect(mut packet) = connect(client_identifier) else { panic!("a CONNECT") };
    packet.user_name = user_name.map(|user_name| user_name.parse().expect("a legal name"));
    packet.password = Some(password.as_bytes().to_vec().into());
    packet.will = will;
    peer.send(&Packet::Connect(packet));
    match peer.receive() {
        Some(Packet::ConnAck(connack)) => (peer, connack.reason_code),
        packet => panic!("no CONNACK but {packet:?}"),
    }
}

/// Logs in with nothing but a password.
fn show(broker: &Broker, password: &str) -> (Peer, ReasonCode) {
    log_in(broker, "one", None, password, None)
}

/// Legal rules as a claim.
const RULES: &str = r#","rules":[{"allow":["publish"],"topics":["own/%c","secret/#"]}]"#;

const REFUSED: ReasonCode = ReasonCode::BadUserNameOrPassword;

#[test]
fn a_token_lets_in_whom_it_names_and_nobody_else() {
    let (folder, issuer, other) =
        (Folder::new(), Issuer::new(Algorithm::Rs256), Issuer::new(Algorithm::Rs256));
    let public = issuer.pair.public_key_pem();
    let mut config = folder.config(&public, Algorithm::Rs256);
    config.auth.jwt.audience = vec!["broker".to_owned(), "other".to_owned()];
    config.auth.jwt.issuer = vec!["https://id.example.org".to_owned()];
    let broker = start(config);
    let made = r#","aud":"broker","iss":"https://id.example.org""#;
    let good = |further: &str| claims("gauge", &format!("{made}{further}"));
    let exp = |exp: &str| format!(r#"{{"sub":"gauge","exp":{exp}{made}}}"#);
    let allowed = ReasonCode::Success;
    for (case, claims, expected) in [
        ("good", good(""), allowed),
        ("several audiences", good("").replace(r#""broker""#, r#"["x","other"]"#), allowed),
        ("its identifier", good(r#","client_identifier":"one""#), allowed),
        ("not before", good(&format!(r#","nbf":{}"#, now())), allowed),
        ("never ends", exp("1e300"), allowed),
        ("expired", exp(&(now() - 10).to_string()), REFUSED),
        ("never", format!(r#"{{"sub":"gauge"{made}}}"#), REFUSED),
        ("exp as text", exp(&format!("\"{}\"", now() + 60)), REFUSED),
        ("not yet", good(&format!(r#","nbf":{}"#, now() + 600)), REFUSED),
        ("nobody", good("").replace("gauge", ""), REFUSED),
        ("a control character", good("").replace("gauge", "a\\u0000"), REFUSED),
        ("other audience", good("").replace("\"broker\"", "\"x\""), REFUSED),
        ("no audience", good("").replace(r#","aud":"broker""#, ""), REFUSED),
        ("other issuer", good("").replace("id.", "it."), REFUSED),
        ("twice", good(r#","sub":"pump""#), REFUSED),
        ("other identifier", good(r#","client_identifier":"two""#), ReasonCode::NotAuthorized),
        ("rules that nobody heeds", good(RULES), ReasonCode::NotAuthorized),
    ] {
        let (mut peer, reason_code) = show(&broker, &issuer.token(&claims));
        assert_eq!(reason_code, expected, "{case}: {claims}");
        if expected == allowed {
            peer.send(&Packet::PingReq);
            assert_eq!(peer.receive(), Some(Packet::PingResp), "{case}");
        } else {
            assert_eq!(peer.receive(), None, "{case}: closed");
        }
        let (_, reason_code) = show(&broker, &other.token(&claims));
        assert_eq!(reason_code, REFUSED, "{case}: another's key");
    }

    let good = good("");
    let token = issuer.token(&good);
    let (message, _) = token.rsplit_once('.').expect("a signature");
    let unsigned = assemble(r#"{"alg":"none"}"#, &good, |_| Vec::new());
    for (case, token) in [
        ("alg none", unsigned),
        ("no signature", format!("{message}.")),
        ("HMAC with the public key", hs256(public.as_bytes(), &good)),
        ("HMAC with the public key in DER", hs256(&issuer.pair.subject_public_key_info(), &good)),
        ("its algorithm by another name", issuer.token_for(r#"{"alg":"PS256"}"#, &good)),
        ("too long", issuer.token(&good.replace("gauge", &"x".repeat(TOKEN_LEN_MAX)))),
        ("no token", "open sesame".to_owned()),
        ("nothing", String::new()),
    ] {
        assert_eq!(show(&broker, &token).1, REFUSED, "{case}");
    }
    for (user_name, expected) in [("gauge", allowed), ("pump", REFUSED), ("", REFUSED)] {
        let (_, reason_code) = log_in(&broker, "one", Some(user_name), &token, None);
        assert_eq!(reason_code, expected, "{user_name:?}");
    }
    // The session is the user's.
    let thief = issuer.token(&good.replace("gauge", "thief"));
    let (_gauge, _) = show(&broker, &token);
    assert_eq!(show(&broker, &thief).1, ReasonCode::NotAuthorized);
}

#[test]
fn a_connection_ends_when_its_token_does() {
    let (folder, issuer) = (Folder::new(), Issuer::new(Algorithm::EdDsa));
    let broker = start(folder.config(issuer.pair.public_key_pem(), Algorithm::EdDsa));
    let (mut heir, reason_code) = show(&broker, &issuer.token(&claims("heir", "")));
    assert_eq!(reason_code, ReasonCode::Success);
    heir.send(&subscribe("status/#", QoS::AtMostOnce));
    assert!(matches!(heir.receive(), Some(Packet::SubAck(_))));
    let will = Will {
        topic_name: "status/mortal".parse().expect("a Topic Name"),
        payload: "gone".into(),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: WillProperties::default(),
    };
    // Past its end, and within the five seconds by which clocks may differ.
    let token = issuer.token(&format!(r#"{{"sub":"mortal","exp":{}}}"#, now() - 1));
    let (mut mortal, reason_code) = log_in(&broker, "two", Some("mortal"), &token, Some(will));
    assert_eq!(reason_code, ReasonCode::Success);
    match mortal.receive() {
        Some(Packet::Disconnect(disconnect)) => {
            assert_eq!(disconnect.reason_code, ReasonCode::MaximumConnectTime);
        }
        packet => panic!("no DISCONNECT but {packet:?}"),
    }
    assert_eq!(mortal.receive(), None, "closed");
    assert_eq!(&heir.take_message().payload[..], b"gone");
    heir.send(&Packet::PingReq);
    assert_eq!(heir.receive(), Some(Packet::PingResp), "whose token goes on stays in");
}

#[test]
fn keys_that_have_changed_count_from_the_reload_on() {
    let (folder, old, new) =
        (Folder::new(), Issuer::new(Algorithm::EdDsa), Issuer::new(Algorithm::EdDsa));
    let [old_pem, new_pem] = [&old, &new].map(|issuer| issuer.pair.public_key_pem());
    let broker = start(folder.config(&old_pem, Algorithm::EdDsa));
    let token = |issuer: &Issuer| issuer.token(&claims("gauge", ""));
    let (mut gauge, _) = log_in(&broker, "before", None, &token(&old), None);
    for (keys, takes_old, takes_new) in [
        (format!("{old_pem}{new_pem}"), true, true),
        ("nonsense".to_owned(), true, true),
        (new_pem, false, true),
        (String::new(), false, true),
    ] {
        folder.write("keys", &keys);
        let reloaded = broker.reload();
        if keys.starts_with("-----BEGIN") {
            assert_eq!(reloaded.expect("legal keys"), None);
        } else {
            let error = reloaded.expect_err("no keys");
            assert!(matches!(error, ReloadError::KeyFile(KeyFileError::Key { .. })), "{error}");
        }
        for (issuer, is_taken) in [(&old, takes_old), (&new, takes_new)] {
            let expected = if is_taken { ReasonCode::Success } else { REFUSED };
            assert_eq!(show(&broker, &token(issuer)).1, expected, "{keys}");
        }
    }
    gauge.send(&Packet::PingReq);
    assert_eq!(gauge.receive(), Some(Packet::PingResp), "who was in stays in");
}

#[test]
fn tokens_stand_beside_passwords_and_secrets_make_them_too() {
    let folder = Folder::new();
    let secret = b"a secret of more than 32 bytes, well kept";
    let mut config = folder.config([&secret[..], b"\n"].concat(), Algorithm::Hs256);
    let cost = Cost::new(8, 1, 1).expect("next to none");
    let passwords = set_password("", "gauge", b"open.sesame.now", cost, &[7; 16]).expect("a user");
    config.auth.password_file = Some(folder.write("passwords", passwords));
    let broker = start(config);
    let token = hs256(secret, &claims("gauge", ""));
    for (user_name, password, expected) in [
        (Some("gauge"), "open.sesame.now", ReasonCode::Success),
        (Some("gauge"), "open.sesame", REFUSED),
        (Some("gauge"), &*token, ReasonCode::Success),
        (None, &token, ReasonCode::Success),
        (Some("pump"), &token, REFUSED),
        (Some("gauge"), &hs256(b"another secret of more than 32 bytes", "{}"), REFUSED),
        (None, "open.sesame.now", REFUSED),
    ] {
        let (_, reason_code) = log_in(&broker, "one", user_name, password, None);
        assert_eq!(reason_code, expected, "{user_name:?} {password}");
    }
}

/// What a PUBLISH at QoS 1 is answered with.
pub(crate) fn may_publish(peer: &mut Peer, topic_name: &str) -> bool {
    peer.send(&publish(topic_name, b"x", QoS::AtLeastOnce));
    match peer.receive() {
        Some(Packet::PubAck(ack)) => ack.reason_code != ReasonCode::NotAuthorized,
        packet => panic!("no PUBACK but {packet:?}"),
    }
}

#[test]
fn groups_and_rules_of_a_token_count_beside_those_of_the_file() {
    let (folder, issuer) = (Folder::new(), Issuer::new(Algorithm::EdDsa));
    let rules = "[[rule]]\ndeny = [\"publish\"]\ntopics = [\"secret/#\"]\n\
                 [[rule]]\nallow = [\"publish\"]\ntopics = [\"pumps/#\"]\ngroup = \"pumps\"\n";
    let rights = Rights { file: Some(folder.write("rules.toml", rules)) };
    let config = folder.config(issuer.pair.public_key_pem(), Algorithm::EdDsa);
    let broker = start(Config { rights, ..config });
    let text = r#""[[rule]]\nallow = [\"publish\"]\ntopics = [\"own/%c\", \"secret/#\"]\n""#;
    for (further, pumps, owned) in [
        (String::new(), false, false),
        (r#","groups":["pumps","x"]"#.to_owned(), true, false),
        (RULES.to_owned(), false, true),
        (format!(r#","rules":{text}"#), false, true),
        (format!(r#","groups":["pumps"]{RULES}"#), true, true),
    ] {
        let (mut peer, reason_code) = show(&broker, &issuer.token(&claims("gauge", &further)));
        assert_eq!(reason_code, ReasonCode::Success, "{further}");
        assert_eq!(may_publish(&mut peer, "pumps/a"), pumps, "{further}");
        assert_eq!(may_publish(&mut peer, "own/one"), owned, "{further}");
        assert!(!may_publish(&mut peer, "own/two"), "{further}");
        assert!(!may_publish(&mut peer, "secret/a"), "{further}");
    }
    for wrong in ["5", "null", "[]", "{}", "\"\"", "[5]", "\"x\"", r#"[{"allow":["publish"]}]"#] {
        let token = issuer.token(&claims("gauge", &format!(r#","rules":{wrong}"#)));
        assert_eq!(show(&broker, &token).1, ReasonCode::NotAuthorized, "{wrong}");
    }
}

#[test]
fn a_broker_does_not_start_with_keys_that_are_of_no_use() {
    let folder = Folder::new();
    let issuer = Issuer::new(Algorithm::EdDsa);
    let public = issuer.pair.public_key_pem();
    let refusal =
        |config: Config| Broker::builder().config(config).start().expect_err("refused").to_string();
    for (keys, algorithm, expected) in [
        (String::new(), Algorithm::EdDsa, "no public key"),
        ("x".to_owned(), Algorithm::EdDsa, "no public key"),
        ("{}".to_owned(), Algorithm::EdDsa, "no JSON object with a list"),
        (issuer.pair.serialize_pem(), Algorithm::EdDsa, "a private key"),
        (public.clone(), Algorithm::Rs256, "none of the keys is for one of auth.jwt.algorithms"),
        (public.clone(), Algorithm::Hs256, "a public key is no secret"),
        ("secret\n".to_owned(), Algorithm::Hs256, "shorter than 32 bytes"),
        ("x".repeat(300_000), Algorithm::Hs256, "more than 256 KiB"),
    ] {
        let told = refusal(folder.config(&keys, algorithm));
        assert!(told.starts_with("auth.jwt.key_file: ") && told.contains(expected), "{told}");
    }
    let config = folder.config(&public, Algorithm::EdDsa);
    let path = config.auth.jwt.key_file.clone().expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("for all");
    assert!(refusal(config.clone()).contains("chmod o-w"));
    fs::remove_file(&path).expect("gone");
    assert!(refusal(config.clone()).contains("keys: No such file"));

    let mut none = config.clone();
    none.auth.jwt.algorithms.clear();
    assert!(refusal(none).starts_with("auth.jwt.algorithms: there is none"));
    let mut mixed = config.clone();
    mixed.auth.jwt.algorithms.push(Algorithm::Hs256);
    assert!(refusal(mixed).starts_with("auth.jwt.algorithms: HS256"));
    let listeners = vec![Listener::tcp("0.0.0.0:0".parse().expect("an address"))];
    let exposed = Broker::builder().config(Config { listeners, ..config }).start();
    assert!(matches!(exposed, Err(StartError::Plaintext(_))));
}
